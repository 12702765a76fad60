/*
 * Makes the disk of one process slow, broken or full. Loaded with LD_PRELOAD; the file named by DISK_SHIM says, at
 * every call, what is wrong:
 *
 *   slow <ms>   every sync takes so much longer
 *   broken      every sync fails with EIO, and syncs nothing
 *   full        no file can grow: ENOSPC, and statvfs says that nothing is free
 *
 * Anything else, or no such file: nothing is wrong.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum trouble { NONE, SLOW, BROKEN, FULL };

static enum trouble trouble(long *ms) {
  const char *file = getenv("DISK_SHIM");
  char text[64] = "";
  int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0)
    return NONE;
  ssize_t count = read(fd, text, sizeof text - 1);
  close(fd);
  if (count <= 0)
    return NONE;
  if (sscanf(text, "slow %ld", ms) == 1)
    return SLOW;
  if (strncmp(text, "broken", 6) == 0)
    return BROKEN;
  return strncmp(text, "full", 4) == 0 ? FULL : NONE;
}

static int sync_with_trouble(long number, int fd) {
  long ms = 0;
  switch (trouble(&ms)) {
  case BROKEN:
    errno = EIO;
    return -1;
  case SLOW: {
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
    break;
  }
  default:
    break;
  }
  return (int)syscall(number, fd);
}

int fdatasync(int fd) { return sync_with_trouble(SYS_fdatasync, fd); }

int fsync(int fd) { return sync_with_trouble(SYS_fsync, fd); }

/* Whether the disk is full and this would need more of it. */
static int would_grow(int fd, off_t end) {
  long ms = 0;
  struct stat file;
  if (trouble(&ms) != FULL || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
    return 0;
  return end > file.st_size;
}

static ssize_t refuse(void) {
  errno = ENOSPC;
  return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
  if (would_grow(fd, offset + (off_t)length))
    return refuse();
  return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
  off_t end = offset;
  for (int part = 0; part < count; part++)
    end += (off_t)parts[part].iov_len;
  return would_grow(fd, end) ? refuse() : syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

ssize_t write(int fd, const void *data, size_t length) {
  off_t position = lseek(fd, 0, SEEK_CUR);
  if (position >= 0 && would_grow(fd, position + (off_t)length))
    return refuse();
  return syscall(SYS_write, fd, data, length);
}

int ftruncate64(int fd, off_t length) {
  if (would_grow(fd, length))
    return (int)refuse();
  return (int)syscall(SYS_ftruncate, fd, length);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) {
  if (would_grow(fd, offset + length))
    return (int)refuse();
  return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int statvfs(const char *path, struct statvfs *answer) {
  static int (*next)(const char *, struct statvfs *);
  long ms = 0;
  if (!next)
    *(void **)&next = dlsym(RTLD_NEXT, "statvfs");
  int result = next(path, answer);
  if (result == 0 && trouble(&ms) == FULL)
    answer->f_bavail = answer->f_bfree = 0;
  return result;
}
