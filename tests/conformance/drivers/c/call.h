/* Calls on a group that take time: by a callback, or waiting on a thread of their own. */
#ifndef DRIVER_CALL_H
#define DRIVER_CALL_H

#include "machine.h"

enum { STEPS_MAX = 64 };

struct hosted_group {
  uint64_t node_id, group_id;
  libraft_group *group;
  struct machine *machine;
};

/* A call under way. */
struct call {
  struct request *request;
  struct hosted_group hosted;
  libraft_node *node;
};

/* Makes the call that the request asks for; answers and frees the request when it is done. */
void make_call(struct request *request, const struct hosted_group *hosted);

int is_command(const struct request *request, const char *name);
/* The next part of a list `A,B,...`, which it cuts in place; NULL at its end. */
char *next_part(char **rest);
/* Cuts `ID@ADDRESS`, or `ID`. */
void split_address(char *part, uint64_t *node_id, const char **address);

#endif
