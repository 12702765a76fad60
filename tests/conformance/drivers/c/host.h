/* The nodes and groups of this process, and what the commands do with them. */
#ifndef DRIVER_HOST_H
#define DRIVER_HOST_H

#include "machine.h"

/* Starts what the line asks for, and frees the request once it is answered. What blocks its thread
 * gets one of its own. */
void serve(struct request *request);

/* Answers what nodes, groups and members say of themselves. */
void answer_node_status(const char *id, libraft_node *node);
void answer_group_status(const char *id, libraft_group *group);
void answer_members(const char *id, libraft_group *group);
/* Writes the line of an event; `node_id` is what user_data points to. */
void say_event(void *node_id, const libraft_event *event);

/* The value of an item, as an answer to `read`. */
void answer_value(const char *id, struct machine *machine, const struct bytes *key, uint64_t index);

#endif
