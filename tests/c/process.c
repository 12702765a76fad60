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
    alarm(30); /* a hang is a failure */
    body(w);
    fflush(NULL);
    /* Not _exit: what threads held that were not copied is no leak of the child's. */
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
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

static void open_a_node(world *parent) {
  libraft_node *node = NULL;
  libraft_node_options options = node_options(1, "data-child");
  (void)parent;
  EXPECT(LIBRAFT_ERR_FORKED, libraft_node_open(&options, &node, &failure));
  CHECK(node == NULL && access("data-child", F_OK) != 0);
}

/* The threads that all nodes of a process share were not copied. */
static void a_forked_child_cannot_open_a_node_if_its_parent_did(void) {
  world w = open_world();
  in_child(open_a_node, &w);
  close_world(&w);
  in_child(open_a_node, &w);
}

static void open_a_world(world *parent) {
  world w = open_world();
  (void)parent;
  OK(libraft_group_propose_wait(w.group, "child", 5, NULL, NULL, NULL, &failure));
  close_world(&w);
}

/* As a server does that forks before it opens anything. */
static void a_child_of_a_process_that_opened_no_node_may_open_one(void) {
  libraft_queue *queue = NULL;
  int fd = -1;
  OK(libraft_queue_open(NULL, &queue, &failure));
  in_child(open_a_world, NULL);
  OK(libraft_queue_fd(queue, &fd, &failure));
  libraft_queue_free(queue);
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

/* Threads of the library itself; the store behind its log keeps a few idle ones for a while. */
static size_t threads_of_the_library(void) {
  size_t count = 0;
  DIR *tasks = opendir("/proc/self/task");
  CHECK(tasks != NULL);
  for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
    char path[300], name[32] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
      CHECK(fgets(name, sizeof(name), file) != NULL);
      CHECK(fclose(file) == 0);
      count += strncmp(name, "libraft", 7) == 0;
    }
  }
  closedir(tasks);
  return count;
}

/* The kernel lists a thread for a moment longer than it takes to join it. */
static int no_thread_of_the_library_is_left(void) {
  for (int i = 0; i < 10000 && threads_of_the_library() > 0; i++) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return threads_of_the_library() == 0;
}

static size_t open_descriptors(void) {
  size_t count = 0;
  DIR *directory = opendir("/proc/self/fd");
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
  size_t descriptors = open_descriptors();
  for (int i = 0; i < 3; i++) {
    CHECK(no_thread_of_the_library_is_left());
    w = open_world();
    CHECK(threads_of_the_library() > 0);
    close_world(&w);
  }
  CHECK(no_thread_of_the_library_is_left());
  CHECK_EQ(open_descriptors(), descriptors);
}

int main(void) {
  RUN(a_child_of_a_process_that_opened_no_node_may_open_one); /* so it must come first */
  RUN(a_forked_child_cannot_use_its_parents_handles);
  RUN(a_forked_child_cannot_open_a_node_if_its_parent_did);
  RUN(signals_never_arrive_on_the_librarys_threads);
  RUN(closing_gives_back_threads_and_descriptors);
  return 0;
}
