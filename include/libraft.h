/*
 * libraft: a program becomes a member of a Raft cluster.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A program opens a NODE (an identity, an address and a data directory), starts GROUPS on it, each
 * with a STATE MACHINE that the program supplies as a table of callbacks, and PROPOSES entries.
 * Every member of a group applies the same entries in the same order, and what was acknowledged
 * survives the loss of a minority of the members.
 *
 * This file is generated from the sources in ffi/src; edit those.
 *
 *
 * INSTALL AND LINK
 *
 *   make install PREFIX=/usr/local
 *   cc program.c $(pkg-config --cflags --libs libraft)
 *
 * or, with CMake, find_package(libraft) and target_link_libraries(program libraft::libraft). The
 * shared library is libraft.so.1, and it is never unloaded: dlclose leaves it in place. Linux,
 * pointers of 64 bits.
 *
 *
 * A COMPLETE PROGRAM: a group of one member, whose state is a sum
 *
 *   #include <inttypes.h>
 *   #include <libraft.h>
 *   #include <stdio.h>
 *
 *   static uint64_t sum;
 *
 *   static int32_t apply(void *user_data, libraft_request *request, const libraft_entry *entries,
 *                        size_t entries_count, libraft_results *results) {
 *     (void)user_data, (void)request;
 *     for (size_t i = 0; i < entries_count; i++) {
 *       sum += entries[i].data_len;
 *       libraft_results_set(results, i, &sum, sizeof(sum), NULL);
 *     }
 *     return LIBRAFT_OK;
 *   }
 *
 *   static int32_t save(void *user_data, libraft_request *request, void *snapshot,
 *                       libraft_snapshot_writer *writer) {
 *     (void)user_data, (void)request, (void)snapshot;
 *     return libraft_snapshot_writer_write(writer, &sum, sizeof(sum), NULL);
 *   }
 *
 *   static int32_t restore(void *user_data, libraft_request *request,
 *                          libraft_snapshot_reader *reader) {
 *     size_t length = 0;
 *     (void)user_data, (void)request;
 *     return libraft_snapshot_reader_read(reader, &sum, sizeof(sum), &length, NULL);
 *   }
 *
 *   int main(void) {
 *     libraft_error *error = NULL;
 *     libraft_node *node = NULL;
 *     libraft_group *group = NULL;
 *     uint64_t index = 0;
 *
 *     libraft_node_options node_options;
 *     libraft_node_options_init(&node_options);
 *     node_options.cluster = "hello";
 *     node_options.node_id = 1;
 *     node_options.directory = "hello-data";
 *     node_options.listen_address = "127.0.0.1:4001";
 *
 *     libraft_initial_member member = {1, "127.0.0.1:4001", {0, 0}};
 *     libraft_group_options group_options;
 *     libraft_group_options_init(&group_options);
 *     group_options.group_id = 1;
 *     group_options.initial_members = &member;
 *     group_options.initial_members_count = 1;
 *
 *     libraft_state_machine machine;
 *     libraft_state_machine_init(&machine);
 *     machine.apply = apply;
 *     machine.save_snapshot = save;
 *     machine.restore_snapshot = restore;
 *
 *     if (libraft_node_open(&node_options, &node, &error) == LIBRAFT_OK &&
 *         libraft_group_start(node, &group_options, &machine, &group, &error) == LIBRAFT_OK &&
 *         libraft_group_wait_ready(group, 10000, &error) == LIBRAFT_OK &&
 *         libraft_group_propose_wait(group, "hello", 5, &index, NULL, NULL, &error) == 0 &&
 *         libraft_node_close(node, &error) == LIBRAFT_OK)
 *       printf("applied at %" PRIu64 ", the sum is %" PRIu64 "\n", index, sum);
 *     else
 *       fprintf(stderr, "%s\n", libraft_error_message(error));
 *     libraft_error_free(error);
 *     libraft_group_free(group);
 *     libraft_node_free(node);
 *     return index == 0;
 *   }
 *
 *
 * ERRORS
 *
 * Functions return LIBRAFT_OK (0) or one of LIBRAFT_ERR_..., whose numbers never change. The last
 * argument of most is a `libraft_error **`: if it is not NULL and the function fails, it gets an
 * error object, with a sentence that says what happened, to what, and what to do. Outputs are
 * written only on success. There is no "last error" of a thread.
 *
 * What became of a call that failed is its OUTCOME. LIBRAFT_OUTCOME_REJECTED: it had no effect and
 * never will have one. LIBRAFT_OUTCOME_UNKNOWN: it may or may not take effect, now or later: ask
 * the state machine before making it again.
 *
 *
 * HANDLES AND OWNERSHIP
 *
 * Nodes, groups, queues, requests and so on are handles: they look like pointers, so that the
 * compiler tells them apart, but they are checked numbers. One that was freed, invented, or of
 * another kind is LIBRAFT_ERR_INVALID_HANDLE, at any time. What a function hands over belongs to
 * the caller until the function ..._free of its kind. Every ..._free takes NULL. What a callback is
 * given is borrowed for the call, unless it says otherwise.
 *
 * Texts end with a NUL and are UTF-8 (paths: any bytes); bytes are a pointer and a length, and NULL
 * is a pointer to no bytes. The library copies what it is given. Times are in milliseconds.
 *
 *
 * STRUCTS
 *
 * Options, completers and tables of callbacks begin with their size, which libraft_..._init sets.
 * So they can grow: a program compiled with this header runs with every later libraft.so.1. Structs
 * in arrays (entries, completions, members, changes) never change their size; their reserved fields
 * are zero, and must be zero where the program fills them in.
 *
 *
 * THREADS
 *
 * Every function may be called from any thread at any time, also while another closes or frees the
 * same thing. A function that blocks says so; called from a callback of the library it returns
 * LIBRAFT_ERR_WOULD_DEADLOCK. Callbacks run on the library's threads, which block all signals;
 * never inside a call of the program, except for the log callback and `destroy`, which say so. A
 * callback must not unwind (no C++ exception, no longjmp).
 *
 *
 * LIFE CYCLE
 *
 *   libraft_node_open     recovers the log and listens
 *   libraft_group_start   forms the group, or goes on with what the data directory holds
 *   ...
 *   libraft_node_close    stops the groups, completes what is pending, releases the directory
 *   libraft_node_free     ends the handle; without a close it begins one and does not wait
 *
 * After fork() the child cannot use what its parent opened, and if the parent ever opened a node,
 * it cannot open one either (LIBRAFT_ERR_FORKED): fork before, or exec.
 *
 *
 * COMPLETIONS
 *
 * Every call that is accepted (returns LIBRAFT_OK) completes exactly once; one that is refused does
 * not complete. How, is what a libraft_completer says: by a callback, on the node's completion
 * thread, or on the event loop for one that is `quick`; or through a libraft_queue, which has a
 * descriptor for poll and epoll. Functions named ..._wait wait instead. A completion may come
 * before the call returns.
 *
 * A state machine's callback may return LIBRAFT_PENDING and be answered later, from any thread, by
 * libraft_request_complete. Or the whole state machine is served from a queue.
 */

#ifndef LIBRAFT_H
#define LIBRAFT_H


#include <stddef.h>
#include <stdint.h>

/**
 * The version of the ABI that this header describes. It changes only with the library's SONAME.
 */
#define LIBRAFT_ABI_VERSION 1

/**
 * It worked.
 */
#define LIBRAFT_OK 0

/**
 * Returned by a state machine's callback: the answer comes later, by libraft_request_complete.
 */
#define LIBRAFT_PENDING 1

/**
 * An argument is missing, out of range or contradicts another.
 */
#define LIBRAFT_ERR_INVALID_ARGUMENT 101

/**
 * A handle is stale, forged or of another kind.
 */
#define LIBRAFT_ERR_INVALID_HANDLE 102

/**
 * A size-first struct has a size this library cannot accept.
 */
#define LIBRAFT_ERR_INVALID_SIZE 103

/**
 * Bytes that must be UTF-8 are not.
 */
#define LIBRAFT_ERR_INVALID_UTF8 104

/**
 * A proposal has no bytes.
 */
#define LIBRAFT_ERR_EMPTY_PROPOSAL 105

/**
 * A proposal or a result exceeds the configured cap.
 */
#define LIBRAFT_ERR_TOO_LARGE 106

/**
 * A blocking call was made on one of the library's own threads.
 */
#define LIBRAFT_ERR_WOULD_DEADLOCK 107

/**
 * The node was opened in the parent of this process; a forked child cannot use it.
 */
#define LIBRAFT_ERR_FORKED 108

/**
 * Listening beyond loopback without transport security was not asked for explicitly.
 */
#define LIBRAFT_ERR_INSECURE_ADDRESS 109

/**
 * The operation does not apply to the state machine's kind, or is not supported by this build.
 */
#define LIBRAFT_ERR_UNSUPPORTED 110

/**
 * This replica is not the leader; the error names the leader when it is known.
 */
#define LIBRAFT_ERR_NOT_LEADER 201

/**
 * There is no leader at present.
 */
#define LIBRAFT_ERR_NO_LEADER 202

/**
 * A limit on pending, uncommitted or unapplied work is reached.
 */
#define LIBRAFT_ERR_BUSY 203

/**
 * The call's time ran out.
 */
#define LIBRAFT_ERR_TIMEOUT 204

/**
 * Another entry was committed at the proposal's index.
 */
#define LIBRAFT_ERR_OVERWRITTEN 205

/**
 * The replica lost track of the proposal: leadership moved, or a snapshot jumped over it.
 */
#define LIBRAFT_ERR_OUTCOME_LOST 206

/**
 * The group is still forming: not all initial members have met each other.
 */
#define LIBRAFT_ERR_FORMING 207

/**
 * No such group on this node.
 */
#define LIBRAFT_ERR_GROUP_NOT_FOUND 301

/**
 * The group is already running on this node.
 */
#define LIBRAFT_ERR_GROUP_EXISTS 302

/**
 * The membership change is impossible: it would leave no voter, add a member twice, and so on.
 */
#define LIBRAFT_ERR_MEMBERSHIP_INVALID 303

/**
 * Another membership change is still in progress.
 */
#define LIBRAFT_ERR_MEMBERSHIP_BUSY 304

/**
 * The change, transfer or request names a node that is not a member.
 */
#define LIBRAFT_ERR_UNKNOWN_MEMBER 305

/**
 * The initial members contradict what the data directory holds.
 */
#define LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT 306

/**
 * This replica was removed from the group. If its node is added again, it comes back by itself.
 */
#define LIBRAFT_ERR_REMOVED 307

/**
 * A file could not be read or written.
 */
#define LIBRAFT_ERR_IO 401

/**
 * The disk is full; service resumes by itself when space returns.
 */
#define LIBRAFT_ERR_NO_SPACE 402

/**
 * A file is damaged; the message names the file and the offset.
 */
#define LIBRAFT_ERR_CORRUPTED 403

/**
 * Another process, or another node of this process, has the data directory open.
 */
#define LIBRAFT_ERR_DIRECTORY_IN_USE 404

/**
 * The data directory belongs to another cluster or to another node.
 */
#define LIBRAFT_ERR_WRONG_IDENTITY 405

/**
 * The data directory was written by a newer version of libraft.
 */
#define LIBRAFT_ERR_NEWER_FORMAT 406

/**
 * The data directory cannot be read or written by this user.
 */
#define LIBRAFT_ERR_PERMISSION_DENIED 407

/**
 * A sync failed; the node no longer votes or acknowledges. Close it and look at the disk.
 */
#define LIBRAFT_ERR_STORAGE_FAILED 408

/**
 * `apply` failed: the group is stopped on this node.
 */
#define LIBRAFT_ERR_APPLY_FAILED 501

/**
 * `open` failed: the group could not be started on this node.
 */
#define LIBRAFT_ERR_OPEN_FAILED 502

/**
 * The state machine's applied index is beyond the log.
 */
#define LIBRAFT_ERR_MACHINE_AHEAD 503

/**
 * `prepare_snapshot` or `save_snapshot` failed.
 */
#define LIBRAFT_ERR_SAVE_FAILED 504

/**
 * `restore_snapshot` failed: the group is stopped on this node.
 */
#define LIBRAFT_ERR_RESTORE_FAILED 505

/**
 * `sync` failed: the group is stopped on this node.
 */
#define LIBRAFT_ERR_SYNC_FAILED 506

/**
 * The listening address is in use.
 */
#define LIBRAFT_ERR_ADDRESS_IN_USE 601

/**
 * An address cannot be parsed or resolved.
 */
#define LIBRAFT_ERR_ADDRESS_INVALID 602

/**
 * A peer could not be reached.
 */
#define LIBRAFT_ERR_UNREACHABLE 603

/**
 * A peer refused the handshake, or was refused; the message says why.
 */
#define LIBRAFT_ERR_HANDSHAKE_REFUSED 604

/**
 * The node is closed, or was closed while the call was pending.
 */
#define LIBRAFT_ERR_CLOSED 701

/**
 * The group is stopped, or was stopped while the call was pending.
 */
#define LIBRAFT_ERR_STOPPED 702

/**
 * A panic was caught; the replica (or the call) is out of service. Please report it.
 */
#define LIBRAFT_ERR_PANICKED 901

/**
 * The library found itself in a state that must not exist. Please report it.
 */
#define LIBRAFT_ERR_INTERNAL 902

/**
 * The proposal was committed and applied.
 */
#define LIBRAFT_OUTCOME_APPLIED 0

/**
 * The call had no effect and never will have one. It may be made again.
 */
#define LIBRAFT_OUTCOME_REJECTED 1

/**
 * The call may or may not take effect, now or later.
 */
#define LIBRAFT_OUTCOME_UNKNOWN 2

/**
 * An initial member that has not met all others, or an empty replica that waits to be added.
 */
#define LIBRAFT_ROLE_FORMING 0

/**
 * Follows a leader.
 */
#define LIBRAFT_ROLE_FOLLOWER 1

/**
 * Asks whether it could become a candidate.
 */
#define LIBRAFT_ROLE_PRE_CANDIDATE 2

/**
 * Asks for votes.
 */
#define LIBRAFT_ROLE_CANDIDATE 3

/**
 * Leads.
 */
#define LIBRAFT_ROLE_LEADER 4

/**
 * Gets all entries but does not vote.
 */
#define LIBRAFT_ROLE_LEARNER 5

/**
 * Stopped by a failure, or removed from the group.
 */
#define LIBRAFT_ROLE_STOPPED 6

/**
 * Votes.
 */
#define LIBRAFT_MEMBER_VOTER 0

/**
 * Gets all entries but does not vote.
 */
#define LIBRAFT_MEMBER_LEARNER 1

/**
 * Votes only until the change in progress, which removes or demotes it, is complete.
 */
#define LIBRAFT_MEMBER_OUTGOING 2

/**
 * Adds a node as a learner.
 */
#define LIBRAFT_CHANGE_ADD_LEARNER 1

/**
 * Adds a node as a voter.
 */
#define LIBRAFT_CHANGE_ADD_VOTER 2

/**
 * Makes a learner a voter.
 */
#define LIBRAFT_CHANGE_PROMOTE 3

/**
 * Makes a voter a learner.
 */
#define LIBRAFT_CHANGE_DEMOTE 4

/**
 * Removes a member.
 */
#define LIBRAFT_CHANGE_REMOVE 5

/**
 * Changes a member's address.
 */
#define LIBRAFT_CHANGE_SET_ADDRESS 6

/**
 * The state is in memory, and rebuilt from a snapshot and the log at every start. Saving excludes
 * applying.
 */
#define LIBRAFT_MACHINE_IN_MEMORY 0

/**
 * As in memory, but a snapshot is prepared quickly and then saved while entries go on being
 * applied.
 */
#define LIBRAFT_MACHINE_CONCURRENT 1

/**
 * The machine keeps its own state on disk, and says at `open` how far it had applied.
 */
#define LIBRAFT_MACHINE_ON_DISK 2

/**
 * The state machine opens; see `open` of libraft_state_machine.
 */
#define LIBRAFT_REQUEST_OPEN 1

/**
 * Entries are to be applied.
 */
#define LIBRAFT_REQUEST_APPLY 2

/**
 * What was applied is to be made durable.
 */
#define LIBRAFT_REQUEST_SYNC 3

/**
 * A snapshot is to be prepared.
 */
#define LIBRAFT_REQUEST_PREPARE_SNAPSHOT 4

/**
 * The state, or a prepared snapshot of it, is to be written.
 */
#define LIBRAFT_REQUEST_SAVE_SNAPSHOT 5

/**
 * The state is to be replaced by a snapshot.
 */
#define LIBRAFT_REQUEST_RESTORE_SNAPSHOT 6

/**
 * The event brings completions.
 */
#define LIBRAFT_QUEUE_COMPLETIONS 1

/**
 * The event brings a request to a state machine.
 */
#define LIBRAFT_QUEUE_REQUEST 2

/**
 * As a timeout: without end.
 */
#define LIBRAFT_WAIT_FOREVER 18446744073709551615ull

/**
 * This replica's role changed: see `role` and `term`.
 */
#define LIBRAFT_EVENT_ROLE 1

/**
 * Another leader is known, or none: see `node_id` and `term`.
 */
#define LIBRAFT_EVENT_LEADER 2

/**
 * Another membership is in force since `index`.
 */
#define LIBRAFT_EVENT_MEMBERSHIP 3

/**
 * A snapshot of this node's state was taken: see `index` and `bytes`.
 */
#define LIBRAFT_EVENT_SNAPSHOT_TAKEN 4

/**
 * A snapshot from the leader was installed: see `index`.
 */
#define LIBRAFT_EVENT_SNAPSHOT_INSTALLED 5

/**
 * The group is out of service on this node: see libraft_group_failure.
 */
#define LIBRAFT_EVENT_FAILED 6

/**
 * A snapshot is being sent to a peer: see `node_id`, `index`, and `bytes` for how much so far.
 */
#define LIBRAFT_EVENT_SNAPSHOT_SENDING 7

/**
 * A snapshot arrives from a peer: see `node_id`, `index`, and `bytes` for how much so far.
 */
#define LIBRAFT_EVENT_SNAPSHOT_RECEIVING 8

/**
 * Nothing.
 */
#define LIBRAFT_LOG_OFF 0

/**
 * Something is out of service.
 */
#define LIBRAFT_LOG_ERROR 1

/**
 * Something went wrong, and was coped with.
 */
#define LIBRAFT_LOG_WARN 2

/**
 * What an operator wants to know.
 */
#define LIBRAFT_LOG_INFO 3

/**
 * What a developer wants to know.
 */
#define LIBRAFT_LOG_DEBUG 4

/**
 * Everything.
 */
#define LIBRAFT_LOG_TRACE 5

/**
 * Bytes that belong to the caller, until libraft_bytes_free.
 */
typedef struct libraft_bytes libraft_bytes;

/**
 * Why a call failed, in full. Filled in by the functions that take a `libraft_error **` as their
 * last argument, if it is not NULL and the call fails; else it is left alone.
 */
typedef struct libraft_error libraft_error;

/**
 * One Raft group on a node.
 */
typedef struct libraft_group libraft_group;

/**
 * The members of a group at one moment.
 */
typedef struct libraft_members libraft_members;

/**
 * A process's membership in a cluster: an identity, an address, a data directory.
 */
typedef struct libraft_node libraft_node;

/**
 * A queue that a host polls instead of being called back.
 */
typedef struct libraft_queue libraft_queue;

/**
 * A request to a state machine, until it is answered.
 */
typedef struct libraft_request libraft_request;

/**
 * Takes the results of the entries of one apply request.
 */
typedef struct libraft_results libraft_results;

/**
 * Whence restore_snapshot reads the state, until its request is answered.
 */
typedef struct libraft_snapshot_reader libraft_snapshot_reader;

/**
 * Where save_snapshot writes the state, until its request is answered.
 */
typedef struct libraft_snapshot_writer libraft_snapshot_writer;

/**
 * What a node is opened with. Begin with libraft_node_options_init, then set cluster, node_id and
 * directory. Texts end with a NUL and are copied.
 */
typedef struct {
  /**
   * The size of this struct in bytes; set by libraft_node_options_init.
   */
  size_t size;
  /**
   * The cluster's name, 1 to 128 bytes of UTF-8. Nodes of different clusters refuse each other.
   */
  const char *cluster;
  /**
   * This node's id within the cluster, not 0.
   */
  uint64_t node_id;
  /**
   * The data directory; created if missing. Each node has its own.
   */
  const char *directory;
  /**
   * Where snapshots are kept, if not below `directory`; NULL for there.
   */
  const char *snapshot_directory;
  /**
   * Address to listen on, "host:port" or "[ipv6]:port"; port 0 takes a free one. NULL for
   * "127.0.0.1:0".
   */
  const char *listen_address;
  /**
   * The address that peers connect to; NULL for the one listened on.
   */
  const char *advertised_address;
  /**
   * The length of a tick in milliseconds. Default 100.
   */
  uint64_t tick_ms;
  /**
   * Ticks without a heartbeat before a follower campaigns; the actual time is drawn from this up
   * to twice this. Default 10.
   */
  uint64_t election_ticks;
  /**
   * Ticks between heartbeats. Default 1.
   */
  uint64_t heartbeat_ticks;
  /**
   * Threads that run state machines which are not quick. Default 2.
   */
  uint64_t apply_threads;
  /**
   * The size of a journal segment in bytes. Default 67108864.
   */
  uint64_t segment_bytes;
  /**
   * Journal segments in use before the oldest is checkpointed. Default 8.
   */
  uint64_t segments_max;
  /**
   * Bytes that must stay free on the disk. Default 67108864.
   */
  uint64_t free_bytes_min;
  /**
   * 1 allows listening beyond loopback although the transport is not encrypted. Default 0.
   */
  int32_t insecure_transport;
  /**
   * Zero.
   */
  int32_t reserved;
} libraft_node_options;

/**
 * Tells that something was closed or stopped: `code` is LIBRAFT_OK or the error's. `error` is
 * borrowed, and NULL if all went well.
 */
typedef void (*libraft_done_callback)(void *user_data, int32_t code, const libraft_error *error);

/**
 * What a node says of itself. Begin with libraft_node_info_init.
 */
typedef struct {
  /**
   * The size of this struct in bytes; set by libraft_node_info_init.
   */
  size_t size;
  /**
   * This node's id.
   */
  uint64_t node_id;
  /**
   * Names this data directory: a wiped node has another.
   */
  uint8_t incarnation[16];
  /**
   * How often the data directory was opened.
   */
  uint64_t boot_counter;
  /**
   * Groups on this node.
   */
  uint64_t groups;
  /**
   * Peers that are connected now.
   */
  uint64_t connected_peers;
  /**
   * Frames that were refused since the node was opened.
   */
  uint64_t refused_frames;
  /**
   * Connections that were refused since the node was opened.
   */
  uint64_t refused_connections;
  /**
   * The journal's bytes on the disk.
   */
  uint64_t journal_bytes;
  /**
   * The checkpoint's bytes on the disk.
   */
  uint64_t checkpoint_bytes;
  /**
   * Journal segments in use.
   */
  uint64_t segments;
  /**
   * 1 while new entries are refused for want of space.
   */
  int32_t full;
  /**
   * LIBRAFT_OK, or the code of the error that put the node out of service; see
   * libraft_node_failure.
   */
  int32_t failure_code;
  /**
   * The cluster's name.
   */
  char cluster[136];
  /**
   * The address that peers connect to, with the actual port.
   */
  char address[264];
} libraft_node_info;

/**
 * One of the initial members of a group.
 */
typedef struct {
  /**
   * The node's id.
   */
  uint64_t node_id;
  /**
   * The address that the node advertises. Ends with a NUL.
   */
  const char *address;
  /**
   * Zero.
   */
  uint64_t reserved[2];
} libraft_initial_member;

/**
 * How a group is started on a node. Begin with libraft_group_options_init, then set group_id, and
 * initial_members if the group is to be formed.
 */
typedef struct {
  /**
   * The size of this struct in bytes; set by libraft_group_options_init.
   */
  size_t size;
  /**
   * The group's id within the cluster, not 0.
   */
  uint64_t group_id;
  /**
   * The members that form the group, the same on all of them, in any order. NULL and 0: go on
   * with what the data directory holds, or wait to be added. Once the group has formed, other
   * nodes are an error; other addresses of the same nodes are tried beside those that the group
   * knows, so that all nodes may move at once.
   */
  const libraft_initial_member *initial_members;
  /**
   * How many.
   */
  size_t initial_members_count;
  /**
   * The largest proposal in bytes. Default 8388608.
   */
  uint64_t proposal_bytes_max;
  /**
   * Bytes of proposals of this node that may be pending. Default 268435456.
   */
  uint64_t pending_bytes_max;
  /**
   * Proposals and reads of this node that may be pending. Default 1048576.
   */
  uint64_t pending_count_max;
  /**
   * Bytes committed but not applied above which proposals are answered busy. Default 268435456.
   */
  uint64_t unapplied_bytes_max;
  /**
   * Bytes of entries in flight to one peer. Default 16777216.
   */
  uint64_t inflight_bytes_max;
  /**
   * Bytes of entries kept in memory. Default 33554432.
   */
  uint64_t entry_cache_bytes;
  /**
   * Entries between automatic snapshots; 0 for none by count. Default 100000.
   */
  uint64_t snapshot_entries;
  /**
   * Bytes of log between automatic snapshots; 0 for none by size. Default 134217728.
   */
  uint64_t snapshot_log_bytes;
  /**
   * Entries kept behind a snapshot for followers that lag a little, but not more than
   * `snapshot_log_bytes` of them. Default 10000.
   */
  uint64_t retained_entries;
  /**
   * Milliseconds after which a pending proposal or read completes with LIBRAFT_ERR_TIMEOUT.
   * Default 10000.
   */
  uint64_t proposal_timeout_ms;
  /**
   * Milliseconds that sending a snapshot may take. Default 600000.
   */
  uint64_t snapshot_transfer_timeout_ms;
  /**
   * Milliseconds that restore_snapshot may take. Default 600000.
   */
  uint64_t snapshot_restore_timeout_ms;
  /**
   * Members with a higher priority campaign first. Default 0.
   */
  int64_t priority;
} libraft_group_options;

/**
 * Frees what a callback's `user_data` points to. Called exactly once, when the library will never
 * use it again.
 */
typedef void (*libraft_destroy_callback)(void *user_data);

/**
 * Opens the machine, before anything else. An on-disk machine answers with
 * libraft_request_set_opened.
 */
typedef int32_t (*libraft_open_callback)(void *user_data, libraft_request *request);

/**
 * A committed entry.
 */
typedef struct {
  /**
   * Its position in the group's log. Indexes ascend, with gaps where the library's own entries
   * are.
   */
  uint64_t index;
  /**
   * The term in which it was proposed.
   */
  uint64_t term;
  /**
   * What was proposed. Borrowed until the request is answered.
   */
  const uint8_t *data;
  /**
   * The length of `data` in bytes.
   */
  size_t data_len;
  /**
   * Zero.
   */
  uint64_t reserved[2];
} libraft_entry;

/**
 * Applies entries, in order, and sets a result for each with libraft_results_set.
 */
typedef int32_t (*libraft_apply_callback)(void *user_data,
                                          libraft_request *request,
                                          const libraft_entry *entries,
                                          size_t entries_count,
                                          libraft_results *results);

/**
 * Makes everything that was applied durable.
 */
typedef int32_t (*libraft_sync_callback)(void *user_data, libraft_request *request);

/**
 * Takes a view of the state that stays as it is, and hands it over with
 * libraft_request_set_snapshot. Must be quick: nothing is applied meanwhile.
 */
typedef int32_t (*libraft_prepare_snapshot_callback)(void *user_data, libraft_request *request);

/**
 * Writes the state, or the view `snapshot` that prepare_snapshot made (else NULL), with
 * libraft_snapshot_writer_write.
 */
typedef int32_t (*libraft_save_snapshot_callback)(void *user_data,
                                                  libraft_request *request,
                                                  void *snapshot,
                                                  libraft_snapshot_writer *writer);

/**
 * Replaces the state by what libraft_snapshot_reader_read yields. After a crash it may be called
 * again with the same snapshot. An on-disk machine makes the new state durable before it answers:
 * the library deletes its copy then.
 */
typedef int32_t (*libraft_restore_snapshot_callback)(void *user_data,
                                                     libraft_request *request,
                                                     libraft_snapshot_reader *reader);

/**
 * Frees a view that prepare_snapshot made. Called exactly once for each, whether it was saved or
 * not.
 */
typedef void (*libraft_release_snapshot_callback)(void *user_data, void *snapshot);

/**
 * The application's state machine. Begin with libraft_state_machine_init.
 *
 * A callback returns LIBRAFT_OK; or LIBRAFT_PENDING, and whatever it was given lives until
 * libraft_request_complete; or any other number for a failure, which stops the group on this node
 * (a failed save only fails the snapshot). It may block for as long as it likes, unless the
 * machine is quick. Callbacks of one machine never overlap, but for save_snapshot of a prepared
 * snapshot, which runs beside the others.
 */
typedef struct {
  /**
   * The size of this struct in bytes; set by libraft_state_machine_init.
   */
  size_t size;
  /**
   * Handed to every callback.
   */
  void *user_data;
  /**
   * Called exactly once, when the library will never use user_data again; also if
   * libraft_group_start fails, before it returns. (Not if the struct itself is NULL or of an
   * impossible size: then nothing in it is looked at.) May be NULL.
   */
  libraft_destroy_callback destroy;
  /**
   * One of LIBRAFT_MACHINE_...
   */
  int32_t kind;
  /**
   * 1 if apply takes microseconds and never blocks: it is then called on the event loop, which
   * saves two wake-ups.
   */
  int32_t quick;
  /**
   * If set, requests are delivered through this queue, and the callbacks but destroy and
   * release_snapshot are NULL. The queue must not be freed before the group is stopped.
   */
  libraft_queue *queue;
  /**
   * On-disk machines need it; NULL for others is allowed.
   */
  libraft_open_callback open;
  /**
   * Every machine needs it.
   */
  libraft_apply_callback apply;
  /**
   * On-disk machines need it.
   */
  libraft_sync_callback sync;
  /**
   * Concurrent and on-disk machines need it.
   */
  libraft_prepare_snapshot_callback prepare_snapshot;
  /**
   * Every machine needs it.
   */
  libraft_save_snapshot_callback save_snapshot;
  /**
   * Every machine needs it.
   */
  libraft_restore_snapshot_callback restore_snapshot;
  /**
   * May be NULL.
   */
  libraft_release_snapshot_callback release_snapshot;
} libraft_state_machine;

/**
 * What a group says of its replica on this node. Begin with libraft_group_info_init.
 */
typedef struct {
  /**
   * The size of this struct in bytes; set by libraft_group_info_init.
   */
  size_t size;
  /**
   * The group's id.
   */
  uint64_t group_id;
  /**
   * This replica's number within the group; 0 while it waits to be added.
   */
  uint64_t raft_id;
  /**
   * Names this formation of the group; zero while it forms.
   */
  uint8_t formation[16];
  /**
   * The current term.
   */
  uint64_t term;
  /**
   * The first index that the log holds.
   */
  uint64_t first_index;
  /**
   * The last index that the log holds.
   */
  uint64_t last_index;
  /**
   * Up to here entries are committed.
   */
  uint64_t commit_index;
  /**
   * Up to here the state machine has applied.
   */
  uint64_t applied_index;
  /**
   * The index of the latest snapshot; 0 if there is none.
   */
  uint64_t snapshot_index;
  /**
   * Proposals and reads of this node that are pending.
   */
  uint64_t pending_proposals;
  /**
   * Bytes of them.
   */
  uint64_t pending_bytes;
  /**
   * The leader's node id; 0 if it is not known.
   */
  uint64_t leader_node_id;
  /**
   * One of LIBRAFT_ROLE_...
   */
  int32_t role;
  /**
   * LIBRAFT_OK, or the code of the error that stopped the group on this node; see
   * libraft_group_failure.
   */
  int32_t failure_code;
  /**
   * The address that the leader advertises; empty if it is not known.
   */
  char leader_address[264];
} libraft_group_info;

/**
 * What became of one call, or of one entry of a batch.
 */
typedef struct {
  /**
   * What the caller passed with the call.
   */
  void *user_data;
  /**
   * LIBRAFT_OK, or one of LIBRAFT_ERR_...: the cause.
   */
  int32_t code;
  /**
   * One of LIBRAFT_OUTCOME_...: what became of the call.
   */
  int32_t outcome;
  /**
   * Of a proposal: the index of its entry. Of a read: the index up to which the state machine
   * has applied at least. Of a snapshot: the snapshot's index.
   */
  uint64_t index;
  /**
   * The term of the entry; 0 for other calls.
   */
  uint64_t term;
  /**
   * What the state machine set as the entry's result; NULL if nothing. Borrowed.
   */
  const uint8_t *result;
  /**
   * The length of the result in bytes.
   */
  size_t result_len;
  /**
   * NULL if `code` is LIBRAFT_OK, else the error in full. Borrowed: do not free it.
   */
  const libraft_error *error;
  /**
   * The position of the entry in its batch; 0 for other calls.
   */
  uint64_t position;
  /**
   * Zero.
   */
  uint64_t reserved[4];
} libraft_completion;

/**
 * Called once for each accepted call, with one completion, or for a batch with one for each entry,
 * in order. What it points to is borrowed until the callback returns.
 */
typedef void (*libraft_completion_callback)(void *user_data,
                                            const libraft_completion *completions,
                                            size_t completions_count);

/**
 * How calls complete: by a callback, or through a queue. May be used for any number of calls, and
 * copied. Begin with libraft_completer_init.
 */
typedef struct {
  /**
   * The size of this struct in bytes; set by libraft_completer_init.
   */
  size_t size;
  /**
   * Called when the call is done; NULL if `queue` is set.
   */
  libraft_completion_callback callback;
  /**
   * Where the completion goes instead; NULL if `callback` is set.
   */
  libraft_queue *queue;
  /**
   * 1 if the callback takes microseconds and never blocks: it is then called on the event loop,
   * which saves a wake-up. 0 for the completion thread.
   */
  int32_t quick;
  /**
   * Zero.
   */
  int32_t reserved;
} libraft_completer;

/**
 * A member of a group.
 */
typedef struct {
  /**
   * The replica's number within the group; never used again.
   */
  uint64_t raft_id;
  /**
   * The node's id.
   */
  uint64_t node_id;
  /**
   * Names the node's data directory: a wiped node has another.
   */
  uint8_t incarnation[16];
  /**
   * The address that the node advertises. Ends with a NUL.
   */
  const char *address;
  /**
   * One of LIBRAFT_MEMBER_...
   */
  int32_t role;
  /**
   * Zero.
   */
  int32_t reserved0;
  /**
   * Zero.
   */
  uint64_t reserved[4];
} libraft_member;

/**
 * One step of a membership change.
 */
typedef struct {
  /**
   * One of LIBRAFT_CHANGE_...
   */
  int32_t kind;
  /**
   * Zero.
   */
  int32_t reserved0;
  /**
   * The node.
   */
  uint64_t node_id;
  /**
   * To add, and to set the address: the address that the node advertises, which ends with a NUL;
   * else NULL.
   */
  const char *address;
  /**
   * Zero.
   */
  uint64_t reserved[3];
} libraft_change;

/**
 * What a queue is opened with. Begin with libraft_queue_options_init.
 */
typedef struct {
  /**
   * The size of this struct in bytes; set by libraft_queue_options_init.
   */
  size_t size;
  /**
   * Calls that may be under way or not yet reaped; more are refused with LIBRAFT_ERR_BUSY. An
   * entry of a batch counts as one. Default 65536.
   */
  uint64_t completions_max;
  /**
   * Bytes of results that may wait to be reaped before more calls are refused with
   * LIBRAFT_ERR_BUSY. Default 67108864.
   */
  uint64_t result_bytes_max;
} libraft_queue_options;

/**
 * A request, as it comes out of a queue: what a callback gets as arguments.
 */
typedef struct {
  /**
   * The size of this struct in bytes, as the library knows it.
   */
  size_t size;
  /**
   * One of LIBRAFT_REQUEST_...
   */
  int32_t kind;
  /**
   * Zero.
   */
  int32_t reserved0;
  /**
   * The group whose state machine is asked.
   */
  uint64_t group_id;
  /**
   * The state machine's user_data.
   */
  void *user_data;
  /**
   * What to answer with libraft_request_complete.
   */
  libraft_request *request;
  /**
   * To apply: the entries; else NULL.
   */
  const libraft_entry *entries;
  /**
   * How many.
   */
  size_t entries_count;
  /**
   * To apply: takes the results; else NULL.
   */
  libraft_results *results;
  /**
   * To save: what the host prepared, or NULL for an in-memory machine.
   */
  void *snapshot;
  /**
   * To save: where to; else NULL.
   */
  libraft_snapshot_writer *writer;
  /**
   * To restore: from where; else NULL.
   */
  libraft_snapshot_reader *reader;
} libraft_request_info;

/**
 * Something that came out of a queue.
 */
typedef struct {
  /**
   * One of LIBRAFT_QUEUE_...
   */
  int32_t kind;
  /**
   * Zero.
   */
  int32_t reserved0;
  /**
   * Of LIBRAFT_QUEUE_COMPLETIONS: one completion, or for a batch one for each entry, in order;
   * else NULL. Borrowed until the next libraft_queue_poll or libraft_queue_free.
   */
  const libraft_completion *completions;
  /**
   * How many.
   */
  size_t completions_count;
  /**
   * Of LIBRAFT_QUEUE_REQUEST: the request; else NULL. Borrowed until libraft_request_complete.
   */
  const libraft_request_info *request;
  /**
   * Zero.
   */
  uint64_t reserved[4];
} libraft_queue_event;

/**
 * Something that happened to a group on this node. What a kind of event does not use is zero.
 */
typedef struct {
  /**
   * The size of this struct in bytes, as the library knows it.
   */
  size_t size;
  /**
   * One of LIBRAFT_EVENT_...; a newer library may send others: ignore them.
   */
  int32_t kind;
  /**
   * One of LIBRAFT_ROLE_...
   */
  int32_t role;
  /**
   * The group.
   */
  uint64_t group_id;
  /**
   * The term.
   */
  uint64_t term;
  /**
   * The index.
   */
  uint64_t index;
  /**
   * The leader's node id, 0 if there is none; or the peer's.
   */
  uint64_t node_id;
  /**
   * The bytes of a snapshot.
   */
  uint64_t bytes;
} libraft_event;

/**
 * Called for each event, in order, one at a time for a group. The event is borrowed for the call.
 */
typedef void (*libraft_event_callback)(void *user_data, const libraft_event *event);

/**
 * Something the library says. The texts are in UTF-8, end with a NUL, and are borrowed for the
 * call.
 */
typedef struct {
  /**
   * The size of this struct in bytes, as the library knows it.
   */
  size_t size;
  /**
   * One of LIBRAFT_LOG_...
   */
  int32_t level;
  /**
   * The line in the library's source; 0 if it is not known.
   */
  uint32_t line;
  /**
   * The part of the library.
   */
  const char *target;
  /**
   * What happened, and to what, as "message key=value ...".
   */
  const char *message;
} libraft_log_record;

/**
 * Called for each log record, from any thread, maybe from several at once, maybe inside a call to
 * the library. It must not block for long, and must not call the library (but for
 * libraft_set_log_callback); what the library says inside of it is lost.
 */
typedef void (*libraft_log_callback)(void *user_data, const libraft_log_record *record);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is loaded, such as "1.2.3".
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the text is the library's and lives as long as the process.
 * **Errors**: none.
 */
const char *libraft_version(void);

/**
 * The ABI of the library that is loaded: compare it with LIBRAFT_ABI_VERSION, which the program
 * was compiled with.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: nothing is handed over.
 * **Errors**: none.
 */
int32_t libraft_abi_version(void);

/**
 * The code: one of LIBRAFT_ERR_..., what the failed function returned. LIBRAFT_ERR_INVALID_HANDLE
 * if this is NULL or no error object.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: nothing is handed over.
 * **Errors**: as said.
 */
int32_t libraft_error_code(const libraft_error *error);

/**
 * What became of the call: LIBRAFT_OUTCOME_REJECTED or LIBRAFT_OUTCOME_UNKNOWN.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: nothing is handed over.
 * **Errors**: none; LIBRAFT_OUTCOME_UNKNOWN if this is NULL or no error object.
 */
int32_t libraft_error_outcome(const libraft_error *error);

/**
 * What happened, to what, and what to do about it: a sentence in UTF-8 for people, which may
 * change between versions.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the text belongs to the error object and lives as long.
 * **Errors**: none; an empty text if this is NULL or no error object.
 */
const char *libraft_error_message(const libraft_error *error);

/**
 * 1 if making the same call again can succeed and cannot apply anything twice, else 0.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: nothing is handed over.
 * **Errors**: none; 0 if this is NULL or no error object.
 */
int32_t libraft_error_retriable(const libraft_error *error);

/**
 * The leader that the error names: its node id, and the address it advertises to its peers. Both
 * outputs may be NULL.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the address belongs to the error object and lives as long.
 * **Errors**: LIBRAFT_ERR_NO_LEADER if the error names none, LIBRAFT_ERR_INVALID_ARGUMENT for
 * NULL, LIBRAFT_ERR_INVALID_HANDLE.
 */
int32_t libraft_error_leader(const libraft_error *error, uint64_t *node_id, const char **address);

/**
 * Frees an error object. NULL is allowed.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: takes the handle; the texts end.
 * **Errors**: none; a handle that is not valid is left alone.
 */
void libraft_error_free(libraft_error *error);

/**
 * The name of a code, such as "NOT_LEADER"; "OK", "PENDING", and "UNKNOWN" for a number that is no
 * code.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the text is the library's and lives as long as the process.
 * **Errors**: none.
 */
const char *libraft_code_name(int32_t code);

/**
 * Where the bytes lie; NULL for NULL and for a handle that is not valid.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the bytes live until libraft_bytes_free; they may be read from any thread.
 * **Errors**: none.
 */
const uint8_t *libraft_bytes_data(const libraft_bytes *bytes);

/**
 * How many bytes there are; 0 for NULL and for a handle that is not valid.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: nothing is handed over.
 * **Errors**: none.
 */
size_t libraft_bytes_len(const libraft_bytes *bytes);

/**
 * Frees the bytes. NULL is allowed.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: takes the handle; pointers from libraft_bytes_data end.
 * **Errors**: none; a handle that is not valid is left alone.
 */
void libraft_bytes_free(libraft_bytes *bytes);

/**
 * Fills node options with defaults. Programs call libraft_node_options_init, which passes the
 * size.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the struct stays the caller's.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
 */
int32_t libraft_node_options_init_sized(libraft_node_options *options, size_t size);

/**
 * Opens a node: reads or makes its identity, recovers its log, listens. No group runs yet.
 *
 * **Threads**: any, but not from a callback. Blocks while the log is recovered.
 * **Ownership**: `*node` is the caller's, until libraft_node_free. The options are copied.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_UTF8,
 * LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_FORKED; of the directory LIBRAFT_ERR_DIRECTORY_IN_USE,
 * LIBRAFT_ERR_WRONG_IDENTITY, LIBRAFT_ERR_NEWER_FORMAT, LIBRAFT_ERR_PERMISSION_DENIED,
 * LIBRAFT_ERR_CORRUPTED, LIBRAFT_ERR_NO_SPACE, LIBRAFT_ERR_IO; of the address
 * LIBRAFT_ERR_ADDRESS_IN_USE, LIBRAFT_ERR_ADDRESS_INVALID, LIBRAFT_ERR_INSECURE_ADDRESS.
 */
int32_t libraft_node_open(const libraft_node_options *options,
                          libraft_node **node,
                          libraft_error **error);

/**
 * Stops all groups, completes what is pending (LIBRAFT_ERR_CLOSED), joins the threads and releases
 * the data directory, which can be opened again when this returns. Closing a closed node is no
 * error. The handle stays valid.
 *
 * **Threads**: any. Blocks; from a callback it begins to close and returns
 * LIBRAFT_ERR_WOULD_DEADLOCK. It waits for callbacks that run, and for a prepared snapshot that is
 * being saved; not for other requests that are pending, which may still be answered afterwards: the
 * state machine is destroyed when the last of them was.
 * **Ownership**: nothing is handed over; libraft_node_free is still needed.
 * **Errors**: LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED; LIBRAFT_ERR_STORAGE_FAILED or LIBRAFT_ERR_IO if
 * the last words could not be written (it is closed all the same).
 */
int32_t libraft_node_close(libraft_node *node, libraft_error **error);

/**
 * Begins what libraft_node_close does; `done` (which may be NULL) is called when the directory can
 * be opened again.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: nothing is handed over; libraft_node_free is still needed.
 * **Errors**: then `done` is not called. LIBRAFT_ERR_CLOSED if it is closed already,
 * LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_node_close_async(libraft_node *node,
                                 libraft_done_callback done,
                                 void *user_data,
                                 libraft_error **error);

/**
 * Frees a node's handle. If the node is not closed, this begins to close it, and memory goes when
 * that is done. NULL is allowed.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: takes the handle.
 * **Errors**: none; a handle that is not valid is left alone.
 */
void libraft_node_free(libraft_node *node);

/**
 * Fills a node's status with zeroes. Programs call libraft_node_info_init, which passes the size.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the struct stays the caller's.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
 */
int32_t libraft_node_info_init_sized(libraft_node_info *info, size_t size);

/**
 * What the node says of itself, as of now.
 *
 * **Threads**: any, callbacks too; never blocks for long.
 * **Ownership**: the struct is the caller's and points to nothing.
 * **Errors**: LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_node_status(const libraft_node *node,
                            libraft_node_info *info,
                            libraft_error **error);

/**
 * The error that put the node out of service: `*failure` is NULL if there is none.
 *
 * **Threads**: any, callbacks too; never blocks for long.
 * **Ownership**: `*failure` is the caller's, until libraft_error_free.
 * **Errors**: LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE,
 * LIBRAFT_ERR_FORKED.
 */
int32_t libraft_node_failure(const libraft_node *node,
                             libraft_error **failure,
                             libraft_error **error);

/**
 * A new handle to a group that was started on this node.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: `*group` is the caller's, until libraft_group_free.
 * **Errors**: LIBRAFT_ERR_GROUP_NOT_FOUND, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_node_group(libraft_node *node,
                           uint64_t group_id,
                           libraft_group **group,
                           libraft_error **error);

/**
 * Fills group options with defaults. Programs call libraft_group_options_init, which passes the
 * size.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the struct stays the caller's.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
 */
int32_t libraft_group_options_init_sized(libraft_group_options *options, size_t size);

/**
 * Starts a group on a node, or goes on with the one in the data directory. Returns at once: see
 * libraft_group_wait_ready.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: `*group` is the caller's, until libraft_group_free. The options and the table of
 * callbacks are copied; `user_data` is lent until `destroy` is called, which happens exactly once,
 * also if this fails (then before it returns).
 * **Errors**: LIBRAFT_ERR_GROUP_EXISTS, LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT if this node is none
 * of them, LIBRAFT_ERR_ADDRESS_INVALID, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_UTF8, LIBRAFT_ERR_INVALID_HANDLE,
 * LIBRAFT_ERR_FORKED. What goes wrong later, in `open` say, is told by libraft_group_wait_ready.
 */
int32_t libraft_group_start(libraft_node *node,
                            const libraft_group_options *options,
                            const libraft_state_machine *machine,
                            libraft_group **group,
                            libraft_error **error);

/**
 * Waits until the group has a leader and this replica has applied what was committed when it
 * learnt of it, for up to `timeout_ms` milliseconds (LIBRAFT_WAIT_FOREVER: without end).
 *
 * **Threads**: any, but not from a callback. Blocks.
 * **Ownership**: nothing is handed over.
 * **Errors**: LIBRAFT_ERR_TIMEOUT, LIBRAFT_ERR_WOULD_DEADLOCK; what stopped the group, such as
 * LIBRAFT_ERR_OPEN_FAILED, LIBRAFT_ERR_MACHINE_AHEAD, LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT,
 * LIBRAFT_ERR_REMOVED, LIBRAFT_ERR_APPLY_FAILED, LIBRAFT_ERR_RESTORE_FAILED, LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED;
 * LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_group_wait_ready(libraft_group *group,
                                 uint64_t timeout_ms,
                                 libraft_error **error);

/**
 * Stops the group on this node, completes what is pending (LIBRAFT_ERR_STOPPED), and returns when
 * the state machine is asked for nothing more. Its data stays: it can be started again. Stopping a
 * stopped group is no error. The handle stays valid.
 *
 * **Threads**: any. Blocks; from a callback it begins to stop and returns
 * LIBRAFT_ERR_WOULD_DEADLOCK. It waits for callbacks that run, but not for requests that are
 * pending: the state machine was destroyed when this returns, or is when the last of those was
 * answered.
 * **Ownership**: nothing is handed over; libraft_group_free is still needed.
 * **Errors**: LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_group_stop(libraft_group *group, libraft_error **error);

/**
 * Begins what libraft_group_stop does; `done` (which may be NULL) is called when that would have
 * returned.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: nothing is handed over; libraft_group_free is still needed.
 * **Errors**: then `done` is not called. LIBRAFT_ERR_STOPPED if it is stopped already, or its node
 * closed; LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_group_stop_async(libraft_group *group,
                                 libraft_done_callback done,
                                 void *user_data,
                                 libraft_error **error);

/**
 * Frees a group's handle. The group itself runs on until libraft_group_stop, or until its node is
 * closed: libraft_node_group gives a new handle. NULL is allowed.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: takes the handle.
 * **Errors**: none; a handle that is not valid is left alone.
 */
void libraft_group_free(libraft_group *group);

/**
 * Fills a group's status with zeroes. Programs call libraft_group_info_init, which passes the
 * size.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the struct stays the caller's.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
 */
int32_t libraft_group_info_init_sized(libraft_group_info *info, size_t size);

/**
 * What the group says of its replica on this node, as of now.
 *
 * **Threads**: any, callbacks too; never blocks for long.
 * **Ownership**: the struct is the caller's and points to nothing.
 * **Errors**: LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_group_status(const libraft_group *group,
                             libraft_group_info *info,
                             libraft_error **error);

/**
 * The error that stopped the group on this node: `*failure` is NULL if there is none.
 *
 * **Threads**: any, callbacks too; never blocks for long.
 * **Ownership**: `*failure` is the caller's, until libraft_error_free.
 * **Errors**: LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE,
 * LIBRAFT_ERR_FORKED.
 */
int32_t libraft_group_failure(const libraft_group *group,
                              libraft_error **failure,
                              libraft_error **error);

/**
 * Fills a completer with defaults. Programs call libraft_completer_init, which passes the size.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the struct stays the caller's.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
 */
int32_t libraft_completer_init_sized(libraft_completer *completer, size_t size);

/**
 * Proposes one entry of `data_len` bytes. It completes when this node's state machine has applied
 * it. Any member may propose; followers forward to the leader. `completer` may be NULL for callers
 * who do not want to know.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: the bytes are copied; the completion is delivered once, maybe before this
 * returns.
 * **Errors**: then there is no completion. LIBRAFT_ERR_EMPTY_PROPOSAL, LIBRAFT_ERR_TOO_LARGE,
 * LIBRAFT_ERR_BUSY, LIBRAFT_ERR_NO_SPACE, LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED,
 * LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_HANDLE,
 * LIBRAFT_ERR_FORKED. A completion may carry any of 2xx to 9xx.
 */
int32_t libraft_group_propose(libraft_group *group,
                              const void *data,
                              size_t data_len,
                              const libraft_completer *completer,
                              void *user_data,
                              libraft_error **error);

/**
 * Proposes `count` entries at once: entry i is the bytes from `offsets[i]` up to `offsets[i + 1]`
 * of `data`; there are `count + 1` offsets, which never descend. All entries are accepted or none;
 * each is applied, or not, by itself. One call of the completer brings all completions, in order.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: the bytes and offsets are copied; the completion is delivered once, maybe before
 * this returns.
 * **Errors**: as libraft_group_propose; LIBRAFT_ERR_INVALID_ARGUMENT if the offsets descend or
 * there are no entries.
 */
int32_t libraft_group_propose_batch(libraft_group *group,
                                    const void *data,
                                    const size_t *offsets,
                                    size_t count,
                                    const libraft_completer *completer,
                                    void *user_data,
                                    libraft_error **error);

/**
 * Proposes one entry and waits until it is applied here, for as long as the group's proposal
 * timeout at most. The outputs may be NULL: the entry's index and term, and what the state machine
 * set as its result.
 *
 * **Threads**: any, but not from a callback. Blocks.
 * **Ownership**: the bytes are copied; `*result` is the caller's, until libraft_bytes_free.
 * **Errors**: as libraft_group_propose and its completion; LIBRAFT_ERR_WOULD_DEADLOCK. The error's
 * outcome says whether the entry may yet be applied.
 */
int32_t libraft_group_propose_wait(libraft_group *group,
                                   const void *data,
                                   size_t data_len,
                                   uint64_t *index,
                                   uint64_t *term,
                                   libraft_bytes **result,
                                   libraft_error **error);

/**
 * Asks for a moment from which reading the application's own state is linearizable: completes once
 * this node's state machine has applied everything that was committed, anywhere, before the call.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: the completion is delivered once, maybe before this returns.
 * **Errors**: then there is no completion. As libraft_group_propose.
 */
int32_t libraft_group_read_index(libraft_group *group,
                                 const libraft_completer *completer,
                                 void *user_data,
                                 libraft_error **error);

/**
 * As libraft_group_read_index, and waits. `index` may be NULL: up to there the state machine has
 * applied at least.
 *
 * **Threads**: any, but not from a callback. Blocks, for as long as the group's proposal timeout
 * at most.
 * **Ownership**: nothing is handed over.
 * **Errors**: as libraft_group_read_index and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
 */
int32_t libraft_group_read_index_wait(libraft_group *group, uint64_t *index, libraft_error **error);

/**
 * The members of the group, as this node knows them now.
 *
 * **Threads**: any, callbacks too; never blocks for long.
 * **Ownership**: `*members` is the caller's, until libraft_members_free.
 * **Errors**: LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_group_members(const libraft_group *group,
                              libraft_members **members,
                              libraft_error **error);

/**
 * How many members there are; 0 for NULL and for a handle that is not valid.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: nothing is handed over.
 * **Errors**: none.
 */
size_t libraft_members_count(const libraft_members *members);

/**
 * The member at `position`, from 0; NULL beyond the last, for NULL, and for a handle that is not
 * valid.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the member belongs to the list and lives as long.
 * **Errors**: none.
 */
const libraft_member *libraft_members_at(const libraft_members *members, size_t position);

/**
 * Frees a list of members. NULL is allowed.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: takes the handle; the members end.
 * **Errors**: none; a handle that is not valid is left alone.
 */
void libraft_members_free(libraft_members *members);

/**
 * Changes the membership: all `count` steps take effect together, or none. Completes when the new
 * membership is in force. Only at the leader.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: the changes are copied; the completion is delivered once, maybe before this
 * returns.
 * **Errors**: then there is no completion. LIBRAFT_ERR_NOT_LEADER (the error names the leader, if
 * it is known), LIBRAFT_ERR_UNKNOWN_MEMBER, LIBRAFT_ERR_MEMBERSHIP_INVALID,
 * LIBRAFT_ERR_MEMBERSHIP_BUSY, LIBRAFT_ERR_ADDRESS_INVALID, LIBRAFT_ERR_BUSY, LIBRAFT_ERR_STOPPED,
 * LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE,
 * LIBRAFT_ERR_INVALID_UTF8, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. The completion may
 * carry any of these, too, and LIBRAFT_ERR_UNREACHABLE if a node to be added does not answer.
 */
int32_t libraft_group_change_membership(libraft_group *group,
                                        const libraft_change *changes,
                                        size_t count,
                                        const libraft_completer *completer,
                                        void *user_data,
                                        libraft_error **error);

/**
 * As libraft_group_change_membership, and waits.
 *
 * **Threads**: any, but not from a callback. Blocks.
 * **Ownership**: the changes are copied.
 * **Errors**: as libraft_group_change_membership and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
 */
int32_t libraft_group_change_membership_wait(libraft_group *group,
                                             const libraft_change *changes,
                                             size_t count,
                                             libraft_error **error);

/**
 * Lets another member lead. Completes when another leader is known. Only at the leader.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: the completion is delivered once, maybe before this returns.
 * **Errors**: then there is no completion. LIBRAFT_ERR_NOT_LEADER, LIBRAFT_ERR_UNKNOWN_MEMBER,
 * LIBRAFT_ERR_BUSY, LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. The completion may
 * carry any of these, too, and LIBRAFT_ERR_TIMEOUT after an election timeout.
 */
int32_t libraft_group_transfer_leadership(libraft_group *group,
                                          uint64_t to_node_id,
                                          const libraft_completer *completer,
                                          void *user_data,
                                          libraft_error **error);

/**
 * As libraft_group_transfer_leadership, and waits.
 *
 * **Threads**: any, but not from a callback. Blocks, for as long as an election timeout at most.
 * **Ownership**: nothing is handed over.
 * **Errors**: as libraft_group_transfer_leadership and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
 */
int32_t libraft_group_transfer_leadership_wait(libraft_group *group,
                                               uint64_t to_node_id,
                                               libraft_error **error);

/**
 * Fills a table of callbacks with NULL. Programs call libraft_state_machine_init, which passes the
 * size.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the struct stays the caller's.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
 */
int32_t libraft_state_machine_init_sized(libraft_state_machine *machine, size_t size);

/**
 * Answers a request for which a callback returned LIBRAFT_PENDING, or which came out of a queue.
 * `code` is LIBRAFT_OK, or any other number for a failure, which stops the group on this node (a
 * failed save only fails the snapshot).
 *
 * **Threads**: any, once; never blocks.
 * **Ownership**: takes the handle; all that the request lent (entries, results, writer, reader)
 * ends.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL and for LIBRAFT_PENDING as the code,
 * LIBRAFT_ERR_INVALID_HANDLE if the request was answered before, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_request_complete(libraft_request *request, int32_t code, libraft_error **error);

/**
 * Says in words why the request is about to fail; the group's error will carry it. A
 * NUL-terminated text in UTF-8.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the text is copied.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_UTF8, LIBRAFT_ERR_INVALID_HANDLE,
 * LIBRAFT_ERR_FORKED.
 */
int32_t libraft_request_set_message(libraft_request *request,
                                    const char *message,
                                    libraft_error **error);

/**
 * Of an open request: the index of the last entry whose effect is in the machine's durable state
 * (0 for a fresh one), and the blob that was stored with it (see libraft_request_blob; NULL and 0
 * for none).
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the blob is copied.
 * **Errors**: LIBRAFT_ERR_UNSUPPORTED if this is another request, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_request_set_opened(libraft_request *request,
                                   uint64_t applied_index,
                                   const void *blob,
                                   size_t blob_len,
                                   libraft_error **error);

/**
 * Of a request to prepare a snapshot: the host's view of its state, which save_snapshot will get,
 * and in the end release_snapshot.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: `snapshot` stays the host's; the library hands it back to release_snapshot
 * exactly once.
 * **Errors**: LIBRAFT_ERR_UNSUPPORTED if this is another request, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. Then the library does not know `snapshot`.
 */
int32_t libraft_request_set_snapshot(libraft_request *request,
                                     void *snapshot,
                                     libraft_error **error);

/**
 * Of an apply request to an on-disk machine: a few opaque bytes of the library's, to be stored
 * together with the entries, and returned by the next `open`.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: `*data` is borrowed until the request is answered.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_request_blob(const libraft_request *request,
                             const uint8_t **data,
                             size_t *data_len,
                             libraft_error **error);

/**
 * Sets the result of the entry at `position` in the request's entries: whoever proposed it gets it
 * with the completion. An entry whose result is not set has an empty one; setting it again
 * replaces it.
 *
 * **Threads**: any, until the request is answered; never blocks.
 * **Ownership**: the bytes are copied.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT if there is no such position, LIBRAFT_ERR_TOO_LARGE
 * above 256 MiB for one request, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_results_set(libraft_results *results,
                            size_t position,
                            const void *data,
                            size_t data_len,
                            libraft_error **error);

/**
 * Takes a snapshot of this node's state machine now; completes with the snapshot's index when it
 * is durable.
 *
 * **Threads**: any, callbacks too; never blocks.
 * **Ownership**: the completion is delivered once, maybe before this returns.
 * **Errors**: then there is no completion. LIBRAFT_ERR_BUSY, LIBRAFT_ERR_STOPPED,
 * LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. The completion may carry LIBRAFT_ERR_SAVE_FAILED
 * or any of 4xx to 9xx.
 */
int32_t libraft_group_take_snapshot(libraft_group *group,
                                    const libraft_completer *completer,
                                    void *user_data,
                                    libraft_error **error);

/**
 * As libraft_group_take_snapshot, and waits. `index` may be NULL: the snapshot's index.
 *
 * **Threads**: any, but not from a callback. Blocks for as long as the state machine takes to
 * save.
 * **Ownership**: nothing is handed over.
 * **Errors**: as libraft_group_take_snapshot and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
 */
int32_t libraft_group_take_snapshot_wait(libraft_group *group,
                                         uint64_t *index,
                                         libraft_error **error);

/**
 * Writes the next `data_len` bytes of the state. All are taken, or it fails.
 *
 * **Threads**: any, until the request is answered. Blocks on the disk or the network.
 * **Ownership**: the bytes are copied.
 * **Errors**: LIBRAFT_ERR_NO_SPACE, LIBRAFT_ERR_IO, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. After one of the first two let save_snapshot
 * fail with it.
 */
int32_t libraft_snapshot_writer_write(libraft_snapshot_writer *writer,
                                      const void *data,
                                      size_t data_len,
                                      libraft_error **error);

/**
 * Reads up to `capacity` bytes of the state; `*length` says how many, and 0 is the end.
 *
 * **Threads**: any, until the request is answered. Blocks on the disk.
 * **Ownership**: the buffer stays the caller's.
 * **Errors**: LIBRAFT_ERR_IO, LIBRAFT_ERR_CORRUPTED, LIBRAFT_ERR_INVALID_ARGUMENT (also for no
 * capacity), LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. After one of the first two let
 * restore_snapshot fail with it.
 */
int32_t libraft_snapshot_reader_read(libraft_snapshot_reader *reader,
                                     void *buffer,
                                     size_t capacity,
                                     size_t *length,
                                     libraft_error **error);

/**
 * Fills queue options with defaults. Programs call libraft_queue_options_init, which passes the
 * size.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the struct stays the caller's.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
 */
int32_t libraft_queue_options_init_sized(libraft_queue_options *options, size_t size);

/**
 * Opens a queue. `options` may be NULL for the defaults.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: `*queue` is the caller's, until libraft_queue_free.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_IO (no
 * descriptor is left).
 */
int32_t libraft_queue_open(const libraft_queue_options *options,
                           libraft_queue **queue,
                           libraft_error **error);

/**
 * The queue's descriptor, which is readable while events wait: for poll, epoll, libuv, libevent
 * and so on. Never read from it and never close it; call libraft_queue_poll.
 *
 * **Threads**: any; never blocks.
 * **Ownership**: the descriptor is the queue's and ends with libraft_queue_free.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_queue_fd(const libraft_queue *queue, int32_t *fd, libraft_error **error);

/**
 * Takes up to `capacity` events out of the queue, and waits for the first for up to `timeout_ms`
 * milliseconds: 0 does not wait, LIBRAFT_WAIT_FOREVER has no end. If nothing came, `*count` is 0
 * and the code LIBRAFT_OK.
 *
 * **Threads**: one at a time. Blocks as said; with a timeout other than 0 not from a callback.
 * **Ownership**: completions are borrowed until the next poll of this queue, or its end; requests
 * until libraft_request_complete.
 * **Errors**: LIBRAFT_ERR_BUSY while another thread polls, LIBRAFT_ERR_CLOSED if the queue is
 * freed meanwhile, LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_queue_poll(libraft_queue *queue,
                           libraft_queue_event *events,
                           size_t capacity,
                           uint64_t timeout_ms,
                           size_t *count,
                           libraft_error **error);

/**
 * Frees a queue. Calls under way go on, but nobody hears of them; requests that wait in the queue
 * count as failed. NULL is allowed.
 *
 * **Threads**: any; never blocks. A thread that polls returns with LIBRAFT_ERR_CLOSED.
 * **Ownership**: takes the handle; what the last poll lent ends, and so does the descriptor.
 * **Errors**: none; a handle that is not valid is left alone.
 */
void libraft_queue_free(libraft_queue *queue);

/**
 * Sets who hears of a group's events, in place of whoever did before; a NULL callback ends it.
 *
 * **Threads**: any, callbacks too; never blocks. Events come on the completion thread. Up to 1,024
 * wait for a callback that blocks; it misses what comes then.
 * **Ownership**: `user_data` is lent until `destroy` (which may be NULL) is called: exactly once,
 * when it is replaced, when the group has stopped, or, if this fails, before it returns. Right
 * after it was replaced one more event may still be on its way to the old callback; `destroy`
 * comes after it.
 * **Errors**: LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
 * LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
 */
int32_t libraft_group_set_event_callback(libraft_group *group,
                                         libraft_event_callback callback,
                                         void *user_data,
                                         libraft_destroy_callback destroy,
                                         libraft_error **error);

/**
 * Sets who hears what the library says, in the whole process, in place of whoever did before:
 * records of `level` and graver ones. A NULL callback ends it. Without a log callback the library
 * says nothing; it never writes to standard output or standard error by itself.
 *
 * **Threads**: any, the log callback too; never blocks.
 * **Ownership**: `user_data` is lent until `destroy` (which may be NULL) is called: exactly once,
 * after the last record, when it is replaced, or, if this fails, before it returns. Texts are
 * borrowed for the call.
 * **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT if there is no such level; LIBRAFT_ERR_UNSUPPORTED if
 * the program is linked statically and has a subscriber of its own.
 */
int32_t libraft_set_log_callback(int32_t level,
                                 libraft_log_callback callback,
                                 void *user_data,
                                 libraft_destroy_callback destroy,
                                 libraft_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/*
 * Structs that begin with their size get it here, from the header that the program is compiled
 * with. THREADS: any. OWNERSHIP: the struct stays the caller's. ERRORS: as the function that each
 * calls.
 */

static inline int32_t libraft_node_options_init(libraft_node_options *options) {
  return libraft_node_options_init_sized(options, sizeof(*options));
}

static inline int32_t libraft_node_info_init(libraft_node_info *info) {
  return libraft_node_info_init_sized(info, sizeof(*info));
}

static inline int32_t libraft_group_options_init(libraft_group_options *options) {
  return libraft_group_options_init_sized(options, sizeof(*options));
}

static inline int32_t libraft_group_info_init(libraft_group_info *info) {
  return libraft_group_info_init_sized(info, sizeof(*info));
}

static inline int32_t libraft_completer_init(libraft_completer *completer) {
  return libraft_completer_init_sized(completer, sizeof(*completer));
}

static inline int32_t libraft_state_machine_init(libraft_state_machine *machine) {
  return libraft_state_machine_init_sized(machine, sizeof(*machine));
}

static inline int32_t libraft_queue_options_init(libraft_queue_options *options) {
  return libraft_queue_options_init_sized(options, sizeof(*options));
}

#endif  /* LIBRAFT_H */
