#define _GNU_SOURCE
#include "call.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

int is_command(const struct request *request, const char *name) {
  return strcmp(request->command, name) == 0;
}

char *next_part(char **rest) {
  char *part = strsep(rest, ",");
  return part == NULL || strcmp(part, "-") == 0 ? NULL : part;
}

void split_address(char *part, uint64_t *node_id, const char **address) {
  char *at = strchr(part, '@');
  *node_id = strtoull(part, NULL, 10);
  *address = at == NULL ? NULL : at + 1;
}

/* The answer of a call that completes with an index; `read` has the item's value, too. */
static void answer_read(const struct call *call, uint64_t index) {
  const struct request *request = call->request;
  if (is_command(request, "read")) {
    struct bytes key = request_bytes(request, "key");
    answer_value(request->id, call->hosted.machine, &key, index);
    free(key.data);
    return;
  }
  struct answer answer;
  answer_begin(&answer, request->id, "ok");
  fprintf(answer.out, " index=%" PRIu64, index);
  answer_end(&answer);
}

static void answer_applied(const char *id, uint64_t index, uint64_t term, const uint8_t *result,
                           size_t length) {
  struct answer answer;
  answer_begin(&answer, id, "ok");
  fprintf(answer.out, " index=%" PRIu64 " term=%" PRIu64 " result=", index, term);
  print_hex(answer.out, result, length);
  answer_end(&answer);
}

static void completed(void *user_data, const libraft_completion *completion, size_t count) {
  struct call *call = user_data;
  struct request *request = call->request;
  (void)count;
  if (completion->code != LIBRAFT_OK) {
    answer_error(request->id, completion->code, completion->error);
  } else if (is_command(request, "propose")) {
    answer_applied(request->id, completion->index, completion->term, completion->result,
                   completion->result_len);
  } else if (is_command(request, "read") || is_command(request, "read_index") ||
             is_command(request, "take_snapshot")) {
    answer_read(call, completion->index);
  } else {
    answer_ok(request->id);
  }
  request_free(request);
  free(call);
}

static void completed_batch(void *user_data, const libraft_completion *completions, size_t count) {
  struct call *call = user_data;
  struct answer answer;
  answer_begin(&answer, call->request->id, "ok");
  for (size_t i = 0; i < count; i++) {
    const libraft_completion *done = &completions[i];
    if (done->code == LIBRAFT_OK) {
      fprintf(answer.out, " r=%" PRIu64 ":%" PRIu64 ":", done->index, done->term);
      print_hex(answer.out, done->result, done->result_len);
    } else {
      fprintf(answer.out, " r=%s:%s", libraft_code_name(done->code), outcome_name(done->outcome));
    }
  }
  answer_end(&answer);
  request_free(call->request);
  free(call);
}

static int32_t propose_batch(struct call *call, const libraft_completer *completer,
                             libraft_error **error) {
  const char *text = request_text(call->request, "data");
  size_t capacity = strlen(text) + 2, count = 0;
  uint8_t *data = present(malloc(capacity));
  size_t *offsets = present(calloc(capacity, sizeof *offsets));
  for (;;) {
    size_t length = strcspn(text, ",");
    struct bytes entry = unhex(text, length);
    memcpy(data + offsets[count], entry.data, entry.length);
    offsets[count + 1] = offsets[count] + entry.length;
    count++;
    free(entry.data);
    if (text[length] == '\0') {
      break;
    }
    text += length + 1;
  }
  int32_t code = libraft_group_propose_batch(call->hosted.group, data, offsets, count, completer,
                                             call, error);
  free(data);
  free(offsets);
  return code;
}

/* Reads the steps of a membership change, which point into `list`; returns how many. */
static size_t read_steps(char *list, libraft_change *steps) {
  static const char *const verbs[] = {"",        "add_learner", "add_voter",  "promote",
                                      "demote", "remove",      "set_address"};
  size_t count = 0;
  char *part;
  while ((part = next_part(&list)) != NULL && count < STEPS_MAX) {
    char *verb = strsep(&part, ":");
    libraft_change *step = &steps[count++];
    memset(step, 0, sizeof *step);
    for (int32_t kind = 1; kind <= LIBRAFT_CHANGE_SET_ADDRESS; kind++) {
      step->kind = strcmp(verb, verbs[kind]) == 0 ? kind : step->kind;
    }
    if (part != NULL) {
      split_address(part, &step->node_id, &step->address);
    }
  }
  return count;
}

static int32_t begin_call(struct call *call, libraft_completer *completer, libraft_error **error) {
  const struct request *request = call->request;
  libraft_group *group = call->hosted.group;
  if (is_command(request, "propose")) {
    struct bytes data = request_bytes(request, "data");
    int32_t code = libraft_group_propose(group, data.data, data.length, completer, call, error);
    free(data.data);
    return code;
  }
  if (is_command(request, "propose_batch")) {
    completer->callback = completed_batch;
    return propose_batch(call, completer, error);
  }
  if (is_command(request, "take_snapshot")) {
    return libraft_group_take_snapshot(group, completer, call, error);
  }
  if (is_command(request, "transfer_leadership")) {
    return libraft_group_transfer_leadership(group, request_number(request, "to"), completer, call,
                                             error);
  }
  if (is_command(request, "change_membership")) {
    libraft_change steps[STEPS_MAX];
    char *list = present(strdup(request_text(request, "steps")));
    int32_t code = libraft_group_change_membership(group, steps, read_steps(list, steps), completer,
                                                   call, error);
    free(list);
    return code;
  }
  return libraft_group_read_index(group, completer, call, error); /* read, too */
}

/* The same calls, waiting. */
static void *call_and_wait(void *context) {
  struct call *call = context;
  struct request *request = call->request;
  libraft_group *group = call->hosted.group;
  libraft_error *error = NULL;
  uint64_t index = 0, term = 0;
  int32_t code;
  if (is_command(request, "propose")) {
    struct bytes data = request_bytes(request, "data");
    libraft_bytes *result = NULL;
    code = libraft_group_propose_wait(group, data.data, data.length, &index, &term, &result,
                                      &error);
    if (code == LIBRAFT_OK) {
      answer_applied(request->id, index, term, libraft_bytes_data(result),
                     libraft_bytes_len(result));
    }
    libraft_bytes_free(result);
    free(data.data);
  } else if (is_command(request, "transfer_leadership") ||
             is_command(request, "change_membership")) {
    libraft_change steps[STEPS_MAX];
    char *list = present(strdup(request_text(request, "steps")));
    code = is_command(request, "change_membership")
               ? libraft_group_change_membership_wait(group, steps, read_steps(list, steps), &error)
               : libraft_group_transfer_leadership_wait(group, request_number(request, "to"),
                                                        &error);
    free(list);
    if (code == LIBRAFT_OK) {
      answer_ok(request->id);
    }
  } else {
    code = is_command(request, "take_snapshot")
               ? libraft_group_take_snapshot_wait(group, &index, &error)
               : libraft_group_read_index_wait(group, &index, &error);
    if (code == LIBRAFT_OK) {
      answer_read(call, index);
    }
  }
  if (code != LIBRAFT_OK) {
    answer_code(request->id, code, error);
  }
  request_free(request);
  free(call);
  return NULL;
}

void make_call(struct request *request, const struct hosted_group *hosted) {
  struct call *call = present(malloc(sizeof *call));
  *call = (struct call){request, *hosted, NULL};
  if (request_is(request, "form", "blocking")) {
    detach(call_and_wait, call);
    return;
  }
  libraft_completer completer;
  libraft_error *error = NULL;
  libraft_completer_init(&completer);
  completer.callback = completed;
  int32_t code = begin_call(call, &completer, &error);
  if (code != LIBRAFT_OK) { /* then there is no completion */
    answer_code(request->id, code, error);
    request_free(request);
    free(call);
  }
}
