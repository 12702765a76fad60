#define _GNU_SOURCE
#include "line.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *present(void *memory) {
  if (memory == NULL) {
    fputs("driver: out of memory\n", stderr);
    _Exit(70);
  }
  return memory;
}

struct request *request_parse(const char *line) {
  struct request *request = present(calloc(1, sizeof *request));
  char *place = NULL;
  request->line = present(strdup(line));
  char *word = strtok_r(request->line, " \n", &place);
  request->id = word == NULL ? "0" : word;
  word = strtok_r(NULL, " \n", &place);
  request->command = word == NULL ? "" : word;
  while (request->count < ARGUMENTS_MAX && (word = strtok_r(NULL, " \n", &place)) != NULL) {
    char *equals = strchr(word, '=');
    if (equals != NULL) {
      *equals = '\0';
      request->names[request->count] = word;
      request->values[request->count++] = equals + 1;
    }
  }
  return request;
}

void request_free(struct request *request) {
  free(request->line);
  free(request);
}

const char *request_find(const struct request *request, const char *name) {
  for (size_t i = 0; i < request->count; i++) {
    if (strcmp(request->names[i], name) == 0) {
      return request->values[i];
    }
  }
  return NULL;
}

const char *request_text(const struct request *request, const char *name) {
  const char *value = request_find(request, name);
  return value == NULL ? "" : value;
}

int request_is(const struct request *request, const char *name, const char *value) {
  return strcmp(request_text(request, name), value) == 0;
}

uint64_t request_number(const struct request *request, const char *name) {
  return strtoull(request_text(request, name), NULL, 10);
}

void request_set(const struct request *request, const char *name, uint64_t *value) {
  if (request_find(request, name) != NULL) {
    *value = request_number(request, name);
  }
}

static unsigned digit(char letter) {
  return (unsigned)(letter <= '9' ? letter - '0' : letter - 'a' + 10);
}

struct bytes unhex(const char *text, size_t length) {
  struct bytes bytes = {present(calloc(1, length / 2 + 1)), 0};
  for (size_t at = 0; text[0] != '-' && at + 1 < length; at += 2) {
    bytes.data[bytes.length++] = (uint8_t)(digit(text[at]) << 4 | digit(text[at + 1]));
  }
  return bytes;
}

struct bytes request_bytes(const struct request *request, const char *name) {
  const char *text = request_text(request, name);
  return unhex(text, strlen(text));
}

/* Without stdio: at exit it writes what is buffered a second time, when another thread is about to. */
void say(const char *line, size_t length) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  char *whole = present(malloc(length + 1));
  memcpy(whole, line, length);
  whole[length++] = '\n';
  pthread_mutex_lock(&mutex);
  for (size_t said = 0; said < length;) {
    ssize_t count = write(STDOUT_FILENO, whole + said, length - said);
    if (count < 0 && errno != EINTR) {
      break; /* nobody listens any more */
    }
    said += count > 0 ? (size_t)count : 0;
  }
  pthread_mutex_unlock(&mutex);
  free(whole);
}

void say_text(const char *text) { say(text, strlen(text)); }

void answer_begin(struct answer *answer, const char *id, const char *kind) {
  answer->out = present(open_memstream(&answer->text, &answer->length));
  fprintf(answer->out, "%s %s", id, kind);
}

void answer_end(struct answer *answer) {
  fclose(answer->out);
  say(answer->text, answer->length);
  free(answer->text);
}

void print_hex(FILE *out, const void *data, size_t length) {
  const uint8_t *bytes = data;
  if (length == 0) {
    putc('-', out);
  }
  for (size_t i = 0; i < length; i++) {
    fprintf(out, "%02x", bytes[i]);
  }
}

void print_hex_text(FILE *out, const char *name, const char *text) {
  fprintf(out, " %s=", name);
  print_hex(out, text, strlen(text));
}

void answer_ok(const char *id) {
  struct answer answer;
  answer_begin(&answer, id, "ok");
  answer_end(&answer);
}

void answer_code(const char *id, int32_t code, libraft_error *error) {
  if (code == LIBRAFT_OK) {
    answer_ok(id);
  } else {
    answer_error(id, code, error);
    libraft_error_free(error);
  }
}

const char *outcome_name(int32_t outcome) {
  return outcome == LIBRAFT_OUTCOME_APPLIED    ? "applied"
         : outcome == LIBRAFT_OUTCOME_REJECTED ? "rejected"
                                               : "unknown";
}

void answer_error(const char *id, int32_t code, const libraft_error *error) {
  uint64_t leader = 0;
  const char *address = "";
  struct answer answer;
  libraft_error_leader(error, &leader, &address);
  answer_begin(&answer, id, "error");
  fprintf(answer.out, " code=%s number=%" PRId32 " outcome=%s retriable=%" PRId32
          " leader=%" PRIu64, libraft_code_name(code), code,
          outcome_name(libraft_error_outcome(error)), libraft_error_retriable(error), leader);
  print_hex_text(answer.out, "leader_address", address);
  print_hex_text(answer.out, "message", libraft_error_message(error));
  answer_end(&answer);
}

void answer_nonsense(const char *id, const char *message) {
  struct answer answer;
  answer_begin(&answer, id, "error");
  fputs(" code=DRIVER number=0 outcome=0 retriable=0 leader=0 leader_address=-", answer.out);
  print_hex_text(answer.out, "message", message);
  answer_end(&answer);
}

void detach(void *(*body)(void *), void *context) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, context) != 0) {
    fputs("driver: no thread can be started\n", stderr);
    _Exit(70);
  }
  pthread_detach(thread);
}
