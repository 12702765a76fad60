/* Forks, signals, and what belongs to the process as a whole. */
#include "harness.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

/* Runs `body` in a forked child, which must end by itself. */
static void in_child(void (*body)(world *), world *w) {
  fflush(NULL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(60); /* a hang is a failure */
    body(w);
    fflush(NULL);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void use_handles_of_the_parent(world *w) {
  enum { E = LIBRAFT_ERR_FORKED };
  libraft_node_info info;
  libraft_error *error = NULL;
  libraft_completer completer = seen_by_callback(0);
  EXPECT(E, libraft_group_propose(w->group, "x", 1, &completer, NULL, &failure));
  EXPECT(E, libraft_group_propose_wait(w->group, "x", 1, NULL, NULL, NULL, &failure));
  EXPECT(E, libraft_group_stop(w->group, &failure));
  EXPECT(E, libraft_node_close(w->node, &failure));
  OK(libraft_node_info_init(&info));
  EXPECT(E, libraft_node_status(w->node, &info, &failure));
  CHECK_EQ(libraft_node_close(w->node, &error), E);
  CHECK(strstr(libraft_error_message(error), "fork") != NULL);
  libraft_error_free(error);
  libraft_group_free(w->group);
  libraft_node_free(w->node);
}

static void a_forked_child_cannot_use_its_parents_handles(void) {
  world w = open_world();
  in_child(use_handles_of_the_parent, &w);
  OK(libraft_group_propose_wait(w.group, "x", 1, NULL, NULL, NULL, &failure));
  close_world(&w);
}

static void open_a_world(world *parent) {
  (void)parent;
  world w;
  w.memory = memory_new();
  libraft_state_machine machine = memory_machine(w.memory);
  w.node = open_node(1, "data-child");
  w.group = start_alone(w.node, 1, &machine);
  OK(libraft_group_propose_wait(w.group, "child", 5, NULL, NULL, NULL, &failure));
  close_world(&w);
}

static void a_forked_child_may_open_a_node_of_its_own(void) {
  world w = open_world();
  in_child(open_a_world, &w);
  OK(libraft_group_propose_wait(w.group, "x", 1, NULL, NULL, NULL, &failure));
  close_world(&w);
}

static volatile sig_atomic_t signals_elsewhere;
static pthread_t main_thread;

static void notice_signal(int number) {
  (void)number;
  signals_elsewhere += !pthread_equal(pthread_self(), main_thread);
}

/* The process's signals are the host's: the library's threads block all of them. */
static void signals_never_arrive_on_the_librarys_threads(void) {
  struct sigaction action;
  sigset_t set, old;
  world w = open_world();
  memset(&action, 0, sizeof(action));
  action.sa_handler = notice_signal;
  main_thread = pthread_self();
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  /* Blocked here, it could only go to another thread; so it stays pending. */
  CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
  CHECK(kill(getpid(), SIGUSR1) == 0);
  OK(libraft_group_propose_wait(w.group, "x", 1, NULL, NULL, NULL, &failure));
  CHECK(sigpending(&set) == 0 && sigismember(&set, SIGUSR1));
  CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
  CHECK_EQ(signals_elsewhere, 0);
  close_world(&w);
}

static size_t entries_of(const char *folder) {
  size_t count = 0;
  DIR *directory = opendir(folder);
  CHECK(directory != NULL);
  while (readdir(directory) != NULL) {
    count++;
  }
  closedir(directory);
  return count;
}

static void closing_gives_back_threads_and_descriptors(void) {
  world w = open_world();
  close_world(&w); /* what is made once for the process is made now */
  size_t threads = entries_of("/proc/self/task"), descriptors = entries_of("/proc/self/fd");
  for (int i = 0; i < 3; i++) {
    w = open_world();
    CHECK(entries_of("/proc/self/task") > threads);
    close_world(&w);
  }
  CHECK_EQ(entries_of("/proc/self/task"), threads);
  CHECK_EQ(entries_of("/proc/self/fd"), descriptors);
}

int main(void) {
  RUN(a_forked_child_cannot_use_its_parents_handles);
  RUN(a_forked_child_may_open_a_node_of_its_own);
  RUN(signals_never_arrive_on_the_librarys_threads);
  RUN(closing_gives_back_threads_and_descriptors);
  return 0;
}
