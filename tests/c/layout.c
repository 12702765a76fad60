/* Sizes and offsets are part of the ABI: they are written out here, and never change but at the end of a struct that begins
 * with its size. */
#include "harness.h"

#define SIZE(type, size) typedef char size_of_##type[sizeof(type) == (size) ? 1 : -1] UNUSED
#define AT(type, field, offset) \
  typedef char offset_of_##type##_##field[offsetof(type, field) == (offset) ? 1 : -1] UNUSED

static void structs_have_the_sizes_and_offsets_of_the_abi(void) {
  SIZE(libraft_node_options, 120);
  AT(libraft_node_options, cluster, 8);
  AT(libraft_node_options, node_id, 16);
  AT(libraft_node_options, directory, 24);
  AT(libraft_node_options, snapshot_directory, 32);
  AT(libraft_node_options, listen_address, 40);
  AT(libraft_node_options, advertised_address, 48);
  AT(libraft_node_options, tick_ms, 56);
  AT(libraft_node_options, election_ticks, 64);
  AT(libraft_node_options, heartbeat_ticks, 72);
  AT(libraft_node_options, apply_threads, 80);
  AT(libraft_node_options, segment_bytes, 88);
  AT(libraft_node_options, segments_max, 96);
  AT(libraft_node_options, free_bytes_min, 104);
  AT(libraft_node_options, insecure_transport, 112);
  SIZE(libraft_node_info, 504);
  AT(libraft_node_info, incarnation, 16);
  AT(libraft_node_info, boot_counter, 32);
  AT(libraft_node_info, full, 96);
  AT(libraft_node_info, failure_code, 100);
  AT(libraft_node_info, cluster, 104);
  AT(libraft_node_info, address, 240);
  SIZE(libraft_initial_member, 32);
  AT(libraft_initial_member, address, 8);
  SIZE(libraft_group_options, 136);
  AT(libraft_group_options, group_id, 8);
  AT(libraft_group_options, initial_members, 16);
  AT(libraft_group_options, initial_members_count, 24);
  AT(libraft_group_options, proposal_bytes_max, 32);
  AT(libraft_group_options, snapshot_entries, 80);
  AT(libraft_group_options, proposal_timeout_ms, 104);
  AT(libraft_group_options, priority, 128);
  SIZE(libraft_group_info, 384);
  AT(libraft_group_info, formation, 24);
  AT(libraft_group_info, term, 40);
  AT(libraft_group_info, applied_index, 72);
  AT(libraft_group_info, leader_node_id, 104);
  AT(libraft_group_info, role, 112);
  AT(libraft_group_info, leader_address, 120);
  SIZE(libraft_completion, 96);
  AT(libraft_completion, code, 8);
  AT(libraft_completion, outcome, 12);
  AT(libraft_completion, index, 16);
  AT(libraft_completion, term, 24);
  AT(libraft_completion, result, 32);
  AT(libraft_completion, result_len, 40);
  AT(libraft_completion, error, 48);
  AT(libraft_completion, position, 56);
  SIZE(libraft_completer, 32);
  AT(libraft_completer, callback, 8);
  AT(libraft_completer, queue, 16);
  AT(libraft_completer, quick, 24);
  SIZE(libraft_member, 80);
  AT(libraft_member, node_id, 8);
  AT(libraft_member, incarnation, 16);
  AT(libraft_member, address, 32);
  AT(libraft_member, role, 40);
  SIZE(libraft_change, 48);
  AT(libraft_change, node_id, 8);
  AT(libraft_change, address, 16);
  SIZE(libraft_state_machine, 96);
  AT(libraft_state_machine, user_data, 8);
  AT(libraft_state_machine, destroy, 16);
  AT(libraft_state_machine, kind, 24);
  AT(libraft_state_machine, quick, 28);
  AT(libraft_state_machine, queue, 32);
  AT(libraft_state_machine, open, 40);
  AT(libraft_state_machine, apply, 48);
  AT(libraft_state_machine, release_snapshot, 88);
  SIZE(libraft_entry, 48);
  AT(libraft_entry, data, 16);
  AT(libraft_entry, data_len, 24);
  SIZE(libraft_request_info, 88);
  AT(libraft_request_info, group_id, 16);
  AT(libraft_request_info, request, 32);
  AT(libraft_request_info, results, 56);
  AT(libraft_request_info, reader, 80);
  SIZE(libraft_queue_options, 24);
  SIZE(libraft_queue_event, 64);
  AT(libraft_queue_event, completions, 8);
  AT(libraft_queue_event, request, 24);
  SIZE(libraft_event, 56);
  AT(libraft_event, group_id, 16);
  AT(libraft_event, bytes, 48);
  SIZE(libraft_log_record, 32);
  AT(libraft_log_record, message, 24);
}

/* The library and the header agree on what it fills in. */
static void initialized_structs_have_their_size_and_defaults(void) {
  libraft_node_options node;
  OK(libraft_node_options_init(&node));
  CHECK_EQ(node.size, sizeof(node));
  CHECK(strcmp(node.listen_address, "127.0.0.1:0") == 0);
  CHECK_EQ(node.tick_ms, 100);
  CHECK_EQ(node.segment_bytes, 67108864);
  CHECK_EQ(node.insecure_transport, 0);
  CHECK(node.cluster == NULL && node.directory == NULL && node.node_id == 0);
  libraft_group_options group;
  OK(libraft_group_options_init(&group));
  CHECK_EQ(group.size, sizeof(group));
  CHECK_EQ(group.proposal_bytes_max, 8388608);
  CHECK_EQ(group.priority, 0);
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  CHECK_EQ(completer.size, sizeof(completer));
  libraft_state_machine machine;
  OK(libraft_state_machine_init(&machine));
  CHECK_EQ(machine.size, sizeof(machine));
  CHECK(machine.apply == NULL && machine.destroy == NULL);
  libraft_queue_options queue;
  OK(libraft_queue_options_init(&queue));
  CHECK_EQ(queue.size, sizeof(queue));
  CHECK_EQ(queue.completions_max, 65536);
  libraft_node_info node_info;
  OK(libraft_node_info_init(&node_info));
  CHECK_EQ(node_info.size, sizeof(node_info));
  libraft_group_info group_info;
  OK(libraft_group_info_init(&group_info));
  CHECK_EQ(group_info.size, sizeof(group_info));
}

/* A program from the future has a longer struct: what this library does not know is zero, and nothing behind it is touched. */
static void initializing_never_writes_past_the_size(void) {
  uint64_t words[40];
  memset(words, 0xEE, sizeof(words));
  OK(libraft_node_options_init_sized((libraft_node_options *)words, 120));
  CHECK_EQ(words[0], 120);
  CHECK_EQ(words[15], UINT64_C(0xEEEEEEEEEEEEEEEE));
  OK(libraft_node_options_init_sized((libraft_node_options *)words, 160));
  CHECK_EQ(words[0], 160);
  CHECK(words[15] == 0 && words[19] == 0);
  CHECK_EQ(words[20], UINT64_C(0xEEEEEEEEEEEEEEEE));
  EXPECT(LIBRAFT_ERR_INVALID_SIZE,
         libraft_node_options_init_sized((libraft_node_options *)words, 119));
  EXPECT(LIBRAFT_ERR_INVALID_SIZE,
         libraft_node_options_init_sized((libraft_node_options *)words, 1 << 20));
}

static void the_library_is_the_one_that_was_compiled_against(void) {
  CHECK_EQ(libraft_abi_version(), LIBRAFT_ABI_VERSION);
  CHECK(strchr(libraft_version(), '.') != NULL);
  CHECK(strcmp(libraft_code_name(LIBRAFT_OK), "OK") == 0);
  CHECK(strcmp(libraft_code_name(LIBRAFT_PENDING), "PENDING") == 0);
  CHECK(strcmp(libraft_code_name(LIBRAFT_ERR_NOT_LEADER), "NOT_LEADER") == 0);
  CHECK(strcmp(libraft_code_name(12345), "UNKNOWN") == 0);
}

int main(void) {
  RUN(structs_have_the_sizes_and_offsets_of_the_abi);
  RUN(initialized_structs_have_their_size_and_defaults);
  RUN(initializing_never_writes_past_the_size);
  RUN(the_library_is_the_one_that_was_compiled_against);
  return 0;
}
