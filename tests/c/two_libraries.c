/* Debian ships another library by the name of libraft, with the SONAME libraft.so.2 and names such as raft_apply. A process
 * must be able to use both; this one is linked against both, and loads both once more by hand. */
#include "harness.h"

#include <dlfcn.h>

/* Of the other library; its header is not needed. */
const char *raft_strerror(int code);
unsigned long long raft_digest(const char *text, unsigned long long n);

static void both_libraries_work_in_one_process(void) {
  CHECK(strlen(raft_strerror(1)) > 0);
  world w = open_world();
  CHECK_EQ(raft_digest("one text", 1), raft_digest("one text", 1));
  OK(libraft_group_propose_wait(w.group, "ours", 4, NULL, NULL, NULL, &failure));
  CHECK(strlen(raft_strerror(2)) > 0);
  close_world(&w);
}

static void both_libraries_can_be_loaded_by_hand(void) {
  void *theirs = dlopen("libraft.so.2", RTLD_NOW | RTLD_LOCAL);
  void *ours = dlopen("libraft.so.1", RTLD_NOW | RTLD_LOCAL);
  CHECK(theirs != NULL && ours != NULL);
  CHECK(dlsym(theirs, "raft_digest") != NULL && dlsym(ours, "raft_digest") == NULL);
  CHECK(dlsym(ours, "libraft_version") != NULL && dlsym(theirs, "libraft_version") == NULL);
  CHECK(dlclose(theirs) == 0 && dlclose(ours) == 0);
}

int main(void) {
  RUN(both_libraries_work_in_one_process);
  RUN(both_libraries_can_be_loaded_by_hand);
  return 0;
}
