/*
 * Records what a process does to the files below one folder: every call that changes something, with its bytes, in the
 * one order in which it took effect. Loaded with LD_PRELOAD.
 *
 *   RECORD_ROOT    the folder, an absolute path without symbolic links
 *   RECORD_TRACE   the file that the records are appended to, outside that folder
 *   RECORD_NOTES   a file that the process writes notes to; each write becomes a record in the same order
 *
 * A lock is held around each call and its record, so the order of the records is the order of the calls. A sync alone
 * runs without the lock, between two records: what was recorded before the first is durable at the second.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* As in src/recording.rs. */
enum kind {
  CREATE = 1,
  MAKE_DIRECTORY,
  WRITE,
  SYNC_BEGIN,
  SYNC_END,
  RENAME,
  UNLINK,
  TRUNCATE,
  ALLOCATE,
  SYNC_RANGE,
  NOTE,
  UNKNOWN,
};

struct record {
  uint32_t kind;
  uint32_t path_length;
  uint32_t target_length;
  uint32_t data_length;
  uint64_t file;   /* inode */
  uint64_t offset; /* or the number of a sync */
  uint64_t length; /* or whether a sync succeeded */
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int trace_fd = -1;
static uint64_t syncs;

static void fail(const char *what) {
  fprintf(stderr, "recorder: %s: %s\n", what, strerror(errno));
  abort();
}

static void trace(const void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = syscall(SYS_write, trace_fd, (const char *)bytes + done, length - done);
    if (count < 0 && errno != EINTR)
      fail("the trace cannot be written");
    done += count > 0 ? (size_t)count : 0;
  }
}

static void record(struct record r, const char *path, const char *target, const void *data) {
  if (trace_fd < 0) {
    const char *file = getenv("RECORD_TRACE");
    trace_fd = (int)syscall(SYS_openat, AT_FDCWD, file ? file : "", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (trace_fd < 0)
      fail("RECORD_TRACE");
  }
  r.path_length = path ? (uint32_t)strlen(path) : 0;
  r.target_length = target ? (uint32_t)strlen(target) : 0;
  trace(&r, sizeof r);
  trace(path, r.path_length);
  trace(target, r.target_length);
  trace(data, r.data_length);
}

/* The part of an absolute path below the root, "" for the root itself, or NULL. */
static const char *below_root(const char *path) {
  const char *root = getenv("RECORD_ROOT");
  size_t length = root ? strlen(root) : 0;
  if (!length || strncmp(path, root, length) != 0)
    return NULL;
  if (path[length] == '\0')
    return path + length;
  return path[length] == '/' ? path + length + 1 : NULL;
}

/* The absolute path of a descriptor. */
static int path_of(int fd, char *path) {
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = '\0';
  return length >= 0;
}

/* The path below the root that `path`, relative to `dir`, names, in `buffer`; or NULL. */
static const char *resolve(int dir, const char *path, char *buffer) {
  if (path[0] == '/') {
    snprintf(buffer, PATH_MAX, "%s", path);
  } else if (dir == AT_FDCWD) {
    if (!getcwd(buffer, PATH_MAX))
      return NULL;
    strncat(buffer, "/", PATH_MAX - strlen(buffer) - 1);
    strncat(buffer, path, PATH_MAX - strlen(buffer) - 1);
  } else {
    if (!path_of(dir, buffer))
      return NULL;
    strncat(buffer, "/", PATH_MAX - strlen(buffer) - 1);
    strncat(buffer, path, PATH_MAX - strlen(buffer) - 1);
  }
  return below_root(buffer);
}

/* Whether a descriptor is of the recorded folder; its inode. */
static int recorded(int fd, uint64_t *inode) {
  char path[PATH_MAX];
  struct stat file;
  if (!path_of(fd, path) || !below_root(path) || fstat(fd, &file) != 0)
    return 0;
  *inode = file.st_ino;
  return S_ISREG(file.st_mode) || S_ISDIR(file.st_mode);
}

static int is_notes(int fd) {
  char path[PATH_MAX];
  const char *notes = getenv("RECORD_NOTES");
  return notes && path_of(fd, path) && strcmp(path, notes) == 0;
}

/* --- Names --- */

static int open_at(int dir, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = flags & (O_CREAT | O_TRUNC) ? resolve(dir, path, buffer) : NULL;
  if (!name)
    return (int)syscall(SYS_openat, dir, path, flags, mode);
  pthread_mutex_lock(&order);
  struct stat file;
  int existed = fstatat(dir, path, &file, AT_SYMLINK_NOFOLLOW) == 0;
  int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
  if (fd >= 0 && fstat(fd, &file) == 0) {
    if (!existed)
      record((struct record){.kind = CREATE, .file = file.st_ino}, name, NULL, NULL);
    else if (flags & O_TRUNC)
      record((struct record){.kind = TRUNCATE, .file = file.st_ino}, NULL, NULL, NULL);
  }
  pthread_mutex_unlock(&order);
  return fd;
}

#define MODE_OF(flags, mode)                                                                                           \
  do {                                                                                                                 \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
      va_list arguments;                                                                                               \
      va_start(arguments, flags);                                                                                      \
      (mode) = va_arg(arguments, mode_t);                                                                              \
      va_end(arguments);                                                                                               \
    }                                                                                                                  \
  } while (0)

int open(const char *path, int flags, ...) {
  mode_t mode = 0;
  MODE_OF(flags, mode);
  return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  mode_t mode = 0;
  MODE_OF(flags, mode);
  return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
  mode_t mode = 0;
  MODE_OF(flags, mode);
  return open_at(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) {
  mode_t mode = 0;
  MODE_OF(flags, mode);
  return open_at(dir, path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = resolve(AT_FDCWD, path, buffer);
  if (!name)
    return (int)syscall(SYS_mkdir, path, mode);
  pthread_mutex_lock(&order);
  int result = (int)syscall(SYS_mkdir, path, mode);
  struct stat file;
  if (result == 0 && stat(path, &file) == 0)
    record((struct record){.kind = MAKE_DIRECTORY, .file = file.st_ino}, name, NULL, NULL);
  pthread_mutex_unlock(&order);
  return result;
}

int rename(const char *from, const char *to) {
  char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
  const char *from_name = resolve(AT_FDCWD, from, from_buffer), *to_name = resolve(AT_FDCWD, to, to_buffer);
  if (!from_name && !to_name)
    return (int)syscall(SYS_rename, from, to);
  pthread_mutex_lock(&order);
  int result = (int)syscall(SYS_rename, from, to);
  if (result == 0)
    record((struct record){.kind = from_name && to_name ? RENAME : UNKNOWN}, from_name ? from_name : from,
           to_name ? to_name : to, NULL);
  pthread_mutex_unlock(&order);
  return result;
}

static int unlink_at(int dir, const char *path, int flags) {
  char buffer[PATH_MAX];
  const char *name = resolve(dir, path, buffer);
  if (!name)
    return (int)syscall(SYS_unlinkat, dir, path, flags);
  pthread_mutex_lock(&order);
  int result = (int)syscall(SYS_unlinkat, dir, path, flags);
  if (result == 0)
    record((struct record){.kind = UNLINK}, name, NULL, NULL);
  pthread_mutex_unlock(&order);
  return result;
}

int unlinkat(int dir, const char *path, int flags) { return unlink_at(dir, path, flags); }

int unlink(const char *path) { return unlink_at(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlink_at(AT_FDCWD, path, AT_REMOVEDIR); }

/* --- Contents --- */

/* Records a write that has happened: `count` of the bytes, at `offset`. */
static void wrote(uint64_t file, const void *data, ssize_t count, off_t offset) {
  if (count > 0)
    record((struct record){.kind = WRITE, .file = file, .offset = (uint64_t)offset, .data_length = (uint32_t)count},
           NULL, NULL, data);
}

static ssize_t write_at(int fd, const void *data, size_t length, off_t offset) {
  uint64_t file;
  if (!recorded(fd, &file))
    return syscall(SYS_pwrite64, fd, data, length, offset);
  pthread_mutex_lock(&order);
  ssize_t count = syscall(SYS_pwrite64, fd, data, length, offset);
  wrote(file, data, count, offset);
  pthread_mutex_unlock(&order);
  return count;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }

/* Pieces one behind the other: one record, as of one write. */
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
  uint64_t file;
  if (!recorded(fd, &file))
    return syscall(SYS_pwritev, fd, parts, count, offset, 0);
  size_t length = 0;
  for (int part = 0; part < count; part++)
    length += parts[part].iov_len;
  char *data = malloc(length + 1), *end = data;
  if (!data)
    fail("no memory");
  for (int part = 0; part < count; part++) {
    memcpy(end, parts[part].iov_base, parts[part].iov_len);
    end += parts[part].iov_len;
  }
  ssize_t written = write_at(fd, data, length, offset);
  free(data);
  return written;
}

ssize_t write(int fd, const void *data, size_t length) {
  uint64_t file;
  if (is_notes(fd)) {
    pthread_mutex_lock(&order);
    record((struct record){.kind = NOTE, .data_length = (uint32_t)length}, NULL, NULL, data);
    pthread_mutex_unlock(&order);
    return (ssize_t)length;
  }
  if (!recorded(fd, &file))
    return syscall(SYS_write, fd, data, length);
  pthread_mutex_lock(&order);
  struct stat state;
  off_t offset = fcntl(fd, F_GETFL) & O_APPEND && fstat(fd, &state) == 0 ? state.st_size : lseek(fd, 0, SEEK_CUR);
  ssize_t count = syscall(SYS_write, fd, data, length);
  wrote(file, data, count, offset);
  pthread_mutex_unlock(&order);
  return count;
}

static int truncate_to(int fd, off_t length) {
  uint64_t file;
  if (!recorded(fd, &file))
    return (int)syscall(SYS_ftruncate, fd, length);
  pthread_mutex_lock(&order);
  int result = (int)syscall(SYS_ftruncate, fd, length);
  if (result == 0)
    record((struct record){.kind = TRUNCATE, .file = file, .length = (uint64_t)length}, NULL, NULL, NULL);
  pthread_mutex_unlock(&order);
  return result;
}

int ftruncate64(int fd, off_t length) { return truncate_to(fd, length); }

int ftruncate(int fd, off_t length) { return truncate_to(fd, length); }

static int allocate(int fd, int mode, off_t offset, off_t length) {
  uint64_t file;
  if (!recorded(fd, &file))
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
  pthread_mutex_lock(&order);
  int result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
  if (result == 0)
    record((struct record){.kind = mode == 0 ? ALLOCATE : UNKNOWN, .file = file, .offset = (uint64_t)offset,
                           .length = (uint64_t)length},
           mode == 0 ? NULL : "fallocate with a mode", NULL, NULL);
  pthread_mutex_unlock(&order);
  return result;
}

int fallocate64(int fd, int mode, off_t offset, off_t length) { return allocate(fd, mode, offset, length); }

int fallocate(int fd, int mode, off_t offset, off_t length) { return allocate(fd, mode, offset, length); }

/* --- Syncs --- */

static int sync_file(long number, int fd) {
  uint64_t file;
  if (!recorded(fd, &file))
    return (int)syscall(number, fd);
  pthread_mutex_lock(&order);
  uint64_t ticket = ++syncs;
  record((struct record){.kind = SYNC_BEGIN, .file = file, .offset = ticket}, NULL, NULL, NULL);
  pthread_mutex_unlock(&order);
  int result = (int)syscall(number, fd);
  int error = errno;
  pthread_mutex_lock(&order);
  record((struct record){.kind = SYNC_END, .file = file, .offset = ticket, .length = result == 0}, NULL, NULL, NULL);
  pthread_mutex_unlock(&order);
  errno = error;
  return result;
}

int fdatasync(int fd) { return sync_file(SYS_fdatasync, fd); }

int fsync(int fd) { return sync_file(SYS_fsync, fd); }

/* Promises nothing about a power cut. */
int sync_file_range(int fd, off_t offset, off_t length, unsigned flags) {
  uint64_t file;
  int is_recorded = recorded(fd, &file);
  int result = (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
  if (is_recorded) {
    pthread_mutex_lock(&order);
    record((struct record){.kind = SYNC_RANGE, .file = file, .offset = (uint64_t)offset, .length = (uint64_t)length},
           NULL, NULL, NULL);
    pthread_mutex_unlock(&order);
  }
  return result;
}

/* --- Calls that nothing here makes: whoever begins to must teach the recorder --- */

static void unknown(int fd, const char *name) {
  uint64_t file;
  if (recorded(fd, &file)) {
    pthread_mutex_lock(&order);
    record((struct record){.kind = UNKNOWN, .file = file}, name, NULL, NULL);
    pthread_mutex_unlock(&order);
  }
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  unknown(fd, "writev");
  return syscall(SYS_writev, fd, parts, count);
}

static void *map(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE)
    unknown(fd, "mmap for writing");
  return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  return map(address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  return map(address, length, protection, flags, fd, offset);
}
