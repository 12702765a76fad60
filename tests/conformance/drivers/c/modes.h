/* What the driver can be besides a server of the line protocol. Each returns what the program ends
 * with. */
#ifndef DRIVER_MODES_H
#define DRIVER_MODES_H

#include <stdint.h>

/* One case of the exit matrix. */
int run_exit(const char *name, const char *directory);
/* The case `dlclose`, for which the library is loaded a second time, from beside the driver. */
int run_exit_dlclose(const char *directory);
/* A member of the benchmark's cluster. */
int run_bench_member(uint64_t node_id, const char *directory);

#endif
