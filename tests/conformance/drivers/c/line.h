/* The lines of the protocol: requests, and answers. */
#ifndef DRIVER_LINE_H
#define DRIVER_LINE_H

#include <libraft.h>
#include <stdio.h>

enum { ARGUMENTS_MAX = 32 };

/* What the suite asks. The texts lie in `line`. */
struct request {
  char *line;
  const char *id, *command;
  const char *names[ARGUMENTS_MAX], *values[ARGUMENTS_MAX];
  size_t count;
};

struct bytes {
  uint8_t *data; /* with a zero byte behind */
  size_t length;
};

/* Never NULL: a driver without memory ends. */
void *present(void *memory);

/* The caller frees it with request_free. */
struct request *request_parse(const char *line);
void request_free(struct request *request);

/* The argument, or NULL. */
const char *request_find(const struct request *request, const char *name);
/* The argument; empty if it is missing. */
const char *request_text(const struct request *request, const char *name);
int request_is(const struct request *request, const char *name, const char *value);
uint64_t request_number(const struct request *request, const char *name);
/* Replaces a default, if the argument is there. */
void request_set(const struct request *request, const char *name, uint64_t *value);
/* The argument's bytes, in hexadecimal; the caller frees `data`. */
struct bytes request_bytes(const struct request *request, const char *name);
struct bytes unhex(const char *text, size_t length);

/* An answer that is being made: answer_begin, prints to `out`, answer_end. */
struct answer {
  FILE *out;
  char *text;
  size_t length;
};

void answer_begin(struct answer *answer, const char *id, const char *kind);
void answer_end(struct answer *answer);
void print_hex(FILE *out, const void *data, size_t length);
void print_hex_text(FILE *out, const char *name, const char *text);

/* Writes a line, whole. */
void say(const char *line, size_t length);
void say_text(const char *text);

void answer_ok(const char *id);
/* Answers by `code`; frees `error`. */
void answer_code(const char *id, int32_t code, libraft_error *error);
/* Answers a call that failed. */
void answer_error(const char *id, int32_t code, const libraft_error *error);
/* A request that the driver cannot make sense of. */
void answer_nonsense(const char *id, const char *message);

const char *outcome_name(int32_t outcome);

/* Runs a function on a thread of its own. */
void detach(void *(*body)(void *), void *context);

#endif
