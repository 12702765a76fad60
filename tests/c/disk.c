/* A disk that fills up and has space again, and one that breaks. This program's own versions of
   some system calls are found before those of the C library, by libraft, too. */
#include "harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static volatile int disk_is_full, disk_is_broken;

static int fails(int code) {
  errno = code;
  return -1;
}

int fdatasync(int fd) {
  return disk_is_broken ? fails(EIO) : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) { return disk_is_broken ? fails(EIO) : (int)syscall(SYS_fsync, fd); }

/* Whether a file would become larger than it is, on a disk that is full. */
static int has_no_room(int fd, off_t end) {
  struct stat file;
  return disk_is_full && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && end > file.st_size;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
  if (has_no_room(fd, offset + (off_t)length)) {
    return fails(ENOSPC);
  }
  return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
  off_t end = offset;
  for (int part = 0; part < count; part++) {
    end += (off_t)parts[part].iov_len;
  }
  return has_no_room(fd, end) ? fails(ENOSPC) : syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

int ftruncate64(int fd, off_t length) {
  return has_no_room(fd, length) ? fails(ENOSPC) : (int)syscall(SYS_ftruncate, fd, length);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) {
  if (has_no_room(fd, offset + length)) {
    return fails(ENOSPC);
  }
  return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int statvfs(const char *path, struct statvfs *answer) {
  int (*next)(const char *, struct statvfs *) = NULL;
  *(void **)&next = dlsym(RTLD_NEXT, "statvfs");
  int result = next(path, answer);
  if (result == 0 && disk_is_full) {
    answer->f_bavail = answer->f_bfree = 0;
  }
  return result;
}

static int32_t propose(world *w, const void *data, size_t length, int32_t *outcome) {
  libraft_error *error = NULL;
  int32_t code = libraft_group_propose_wait(w->group, data, length, NULL, NULL, NULL, &error);
  record_code(code);
  if (code != LIBRAFT_OK) {
    *outcome = libraft_error_outcome(error);
  }
  libraft_error_free(error);
  return code;
}

static int32_t status_of(world *w, int32_t *full) {
  libraft_node_info info;
  OK(libraft_node_info_init(&info));
  OK(libraft_node_status(w->node, &info, &failure));
  *full = info.full;
  return info.failure_code;
}

/* Entries that need new space are refused; what has been allocated before lasts for a few. */
static void a_full_disk_refuses_proposals_until_there_is_space_again(void) {
  static const char large[64 << 10];
  world w = open_world();
  int32_t code = LIBRAFT_OK, outcome = LIBRAFT_OUTCOME_UNKNOWN, full = 0;
  disk_is_full = 1;
  for (int i = 0; i < 2000 && code == LIBRAFT_OK; i++) {
    code = propose(&w, large, sizeof(large), &outcome);
  }
  CHECK_EQ(code, LIBRAFT_ERR_NO_SPACE);
  CHECK_EQ(outcome, LIBRAFT_OUTCOME_REJECTED);
  CHECK_EQ(status_of(&w, &full), LIBRAFT_OK);
  disk_is_full = 0;
  /* It looks for space from time to time, and needs no restart. */
  time_t patience = time(NULL) + 60;
  while ((code = propose(&w, large, sizeof(large), &outcome)) != LIBRAFT_OK) {
    CHECK_EQ(code, LIBRAFT_ERR_NO_SPACE);
    CHECK(time(NULL) < patience);
  }
  CHECK_EQ(status_of(&w, &full), LIBRAFT_OK);
  CHECK_EQ(full, 0);
  close_world(&w);
}

/* The proposal whose sync failed may be on the disk all the same; no later one is taken. */
static void a_sync_that_fails_is_final_for_the_node(void) {
  world w = open_world();
  int32_t outcome = LIBRAFT_OUTCOME_APPLIED, full = 0;
  OK(libraft_group_propose_wait(w.group, "x", 1, NULL, NULL, NULL, &failure));
  disk_is_broken = 1;
  CHECK_EQ(propose(&w, "y", 1, &outcome), LIBRAFT_ERR_STORAGE_FAILED);
  CHECK_EQ(outcome, LIBRAFT_OUTCOME_UNKNOWN);
  disk_is_broken = 0;
  CHECK_EQ(propose(&w, "z", 1, &outcome), LIBRAFT_ERR_STORAGE_FAILED);
  CHECK_EQ(outcome, LIBRAFT_OUTCOME_REJECTED);
  CHECK_EQ(status_of(&w, &full), LIBRAFT_ERR_STORAGE_FAILED);
  CHECK_EQ(w.memory->entries, 1);
  EXPECT(LIBRAFT_ERR_STORAGE_FAILED, libraft_node_close(w.node, &failure));
  libraft_group_free(w.group);
  libraft_node_free(w.node);
  memory_free(w.memory);
}

int main(void) {
  RUN(a_full_disk_refuses_proposals_until_there_is_space_again);
  RUN(a_sync_that_fails_is_final_for_the_node);
  return 0;
}
