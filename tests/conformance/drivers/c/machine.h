/* The ledger as a state machine of libraft: of every kind and style, and failing when it is told
 * to. */
#ifndef DRIVER_MACHINE_H
#define DRIVER_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "ledger.h"

/* The ledger and how it behaves: what the callbacks and the driver's commands both reach. It lives
 * as long as the driver. */
struct machine {
  int32_t kind;
  int is_async; /* answers from another thread, after the callback has returned */
  int is_quick;
  char *folder; /* of an on-disk machine */

  pthread_mutex_t mutex; /* of all below */
  pthread_cond_t released;
  struct ledger ledger;
  uint64_t block_ms, releases;
  char fail[16], pend[16]; /* the name of a callback, or empty */
  void (*before_apply)(void *context);
  void *before_context;
};

/* Machines that were destroyed since the driver started. */
extern atomic_uint_fast64_t destroyed;

struct machine *machine_new(int32_t kind, int is_async, int is_quick, const char *folder);
/* The callbacks for the library. */
libraft_state_machine machine_table(struct machine *machine);

void machine_set_fail(struct machine *machine, const char *callback);
void machine_set_pend(struct machine *machine, const char *callback);
void machine_set_block(struct machine *machine, uint64_t block_ms);
void machine_release(struct machine *machine);
/* The next apply calls this first. */
void machine_before_next_apply(struct machine *machine, void (*action)(void *), void *context);

#endif
