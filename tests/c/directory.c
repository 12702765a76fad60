/* Data directories that cannot be opened: each reason has a code of its own. */
#include "harness.h"

#include <fcntl.h>
#include <sys/wait.h>

static void make_and_close(const char *directory) {
  libraft_node *node = open_node(1, directory);
  OK(libraft_node_close(node, &failure));
  libraft_node_free(node);
}

static void expect_open(int32_t expected, const libraft_node_options *options) {
  libraft_node *node = NULL;
  EXPECT(expected, libraft_node_open(options, &node, &failure));
  if (expected != LIBRAFT_OK) {
    CHECK(node == NULL);
    return;
  }
  OK(libraft_node_close(node, &failure));
  libraft_node_free(node);
}

static void a_directory_in_use_is_refused_and_opens_when_it_is_free(void) {
  const char *directory = fresh_directory();
  libraft_node_options options = node_options(1, directory);
  libraft_node *node = open_node(1, directory);
  expect_open(LIBRAFT_ERR_DIRECTORY_IN_USE, &options);
  OK(libraft_node_close(node, &failure));
  libraft_node_free(node);
  expect_open(LIBRAFT_OK, &options);
}

static void a_directory_of_another_cluster_or_node_is_refused(void) {
  const char *directory = fresh_directory();
  libraft_node_options options = node_options(1, directory);
  make_and_close(directory);
  options.cluster = "another";
  expect_open(LIBRAFT_ERR_WRONG_IDENTITY, &options);
  options = node_options(2, directory);
  expect_open(LIBRAFT_ERR_WRONG_IDENTITY, &options);
  options = node_options(1, directory);
  expect_open(LIBRAFT_OK, &options);
}

static void two_nodes_of_one_process_live_side_by_side(void) {
  libraft_node *one = open_node(1, fresh_directory()), *two = open_node(2, fresh_directory());
  char first[64], second[64];
  node_address(one, first, sizeof(first));
  node_address(two, second, sizeof(second));
  CHECK(strcmp(first, second) != 0);
  OK(libraft_node_close(one, &failure));
  OK(libraft_node_close(two, &failure));
  libraft_node_free(one);
  libraft_node_free(two);
}

/* Root may do anything, so that a child without rights does the asking, before any node was opened here. */
static void a_directory_that_this_user_cannot_write_is_refused(void) {
  const char *directory = fresh_directory();
  CHECK(mkdir(directory, geteuid() == 0 ? 0700 : 0500) == 0);
  fflush(NULL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    libraft_node_options options = node_options(1, directory);
    libraft_node *node = NULL;
    const char *codes = getenv("LIBRAFT_TEST_CODES");
    int record = codes == NULL ? -1 : open(codes, O_WRONLY | O_APPEND);
    alarm(30);
    CHECK(geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0));
    CHECK_EQ(libraft_node_open(&options, &node, NULL), LIBRAFT_ERR_PERMISSION_DENIED);
    CHECK(record < 0 || write(record, "PERMISSION_DENIED\n", 18) == 18);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(chmod(directory, 0700) == 0);
}

static void a_path_that_is_no_directory_is_refused(void) {
  FILE *file = fopen("a-file", "w");
  CHECK(file != NULL && fclose(file) == 0);
  libraft_node_options options = node_options(1, "a-file/below");
  expect_open(LIBRAFT_ERR_IO, &options);
}

static size_t read_identity(const char *directory, unsigned char *bytes, size_t capacity) {
  char path[128];
  snprintf(path, sizeof(path), "%s/identity", directory);
  FILE *file = fopen(path, "rb");
  CHECK(file != NULL);
  size_t length = fread(bytes, 1, capacity, file);
  CHECK(length > 16 && length < capacity && fclose(file) == 0);
  return length;
}

static void write_identity(const char *directory, const unsigned char *bytes, size_t length) {
  char path[128];
  snprintf(path, sizeof(path), "%s/identity", directory);
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL);
  CHECK(fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
}

static void a_damaged_identity_is_refused_and_named(void) {
  const char *directory = fresh_directory();
  libraft_node_options options = node_options(1, directory);
  libraft_node *node = NULL;
  libraft_error *error = NULL;
  unsigned char bytes[1024];
  make_and_close(directory);
  size_t length = read_identity(directory, bytes, sizeof(bytes));
  bytes[length / 2] ^= 0x20;
  write_identity(directory, bytes, length);
  int32_t code = libraft_node_open(&options, &node, &error);
  record_code(code);
  CHECK_EQ(code, LIBRAFT_ERR_CORRUPTED);
  CHECK(strstr(libraft_error_message(error), "identity") != NULL);
  libraft_error_free(error);
  bytes[length / 2] ^= 0x20;
  write_identity(directory, bytes, length);
  expect_open(LIBRAFT_OK, &options);
}

static uint32_t crc32c(const unsigned char *bytes, size_t length) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ (UINT32_C(0x82F63B78) & (0 - (crc & 1)));
    }
  }
  return ~crc;
}

/* docs/format.md: the version is at offset 8, and the last four bytes are a CRC-32C of the others. */
static void a_directory_of_a_newer_format_is_refused(void) {
  const char *directory = fresh_directory();
  libraft_node_options options = node_options(1, directory);
  unsigned char bytes[1024];
  make_and_close(directory);
  size_t length = read_identity(directory, bytes, sizeof(bytes));
  bytes[8] = 200;
  uint32_t crc = crc32c(bytes, length - 4);
  for (int i = 0; i < 4; i++) {
    bytes[length - 4 + (size_t)i] = (unsigned char)(crc >> (8 * i));
  }
  write_identity(directory, bytes, length);
  expect_open(LIBRAFT_ERR_NEWER_FORMAT, &options);
}

int main(void) {
  RUN(a_directory_that_this_user_cannot_write_is_refused); /* first: it forks */
  RUN(a_directory_in_use_is_refused_and_opens_when_it_is_free);
  RUN(a_directory_of_another_cluster_or_node_is_refused);
  RUN(two_nodes_of_one_process_live_side_by_side);
  RUN(a_path_that_is_no_directory_is_refused);
  RUN(a_damaged_identity_is_refused_and_named);
  RUN(a_directory_of_a_newer_format_is_refused);
  return 0;
}
