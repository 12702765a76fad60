/* The driver of C: see tests/conformance/PROTOCOL.md. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "modes.h"

/* Serves the lines of the input until it ends; then the process ends at once. */
static void serve_lines(void) {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  struct answer hello;
  answer_begin(&hello, "!", "driver");
  fputs(" language=c runtime=", hello.out);
  print_hex(hello.out, path, length > 0 ? (size_t)length : 0);
  fputs(" protocol=1", hello.out);
  answer_end(&hello);
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    serve(request_parse(line));
  }
  _Exit(0);
}

int main(int argc, char **argv) {
  if (argc == 1) {
    serve_lines();
  }
  if (argc == 4 && strcmp(argv[1], "exit") == 0) {
    return run_exit(argv[2], argv[3]);
  }
  if (argc == 4 && strcmp(argv[1], "bench-member") == 0) {
    return run_bench_member(strtoull(argv[2], NULL, 10), argv[3]);
  }
  fputs("usage: driver-c [exit CASE DIRECTORY | bench-member ID DIRECTORY]\n", stderr);
  return 2;
}
