/*
 * libraft for C++: a program becomes a member of a Raft cluster.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A program opens a Node (an identity, an address and a data directory), starts Groups on it, each
 * with a state machine that the program derives from StateMachine, and proposes entries. Every
 * member of a group applies the same entries in the same order, and what was acknowledged survives
 * the loss of a minority of the members.
 *
 * Headers only, C++17 or later, over the C API in libraft.h, which has the same names: what is not
 * said here, is said there.
 *
 *   make install PREFIX=/usr/local
 *   c++ -std=c++17 program.cpp $(pkg-config --cflags --libs libraft)
 *
 *
 * A COMPLETE PROGRAM: a group of one member, whose state is a sum
 *
 *   #include <iostream>
 *   #include <libraft.hpp>
 *
 *   using namespace std::chrono_literals;
 *
 *   class Sum : public libraft::StateMachine {
 *     libraft::Result<void> apply(libraft::ApplyRequest &request) override {
 *       for (const libraft::Entry entry : request.entries()) {
 *         sum_ += entry.data.size();
 *         request.set_result(entry.position, std::to_string(sum_));
 *       }
 *       return {};
 *     }
 *     libraft::Result<void> save_snapshot(libraft::SnapshotWriter &writer) override {
 *       return writer.write({&sum_, sizeof sum_});
 *     }
 *     libraft::Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
 *       return reader.read_exactly(&sum_, sizeof sum_);
 *     }
 *     std::uint64_t sum_ = 0;
 *   };
 *
 *   int main() try {
 *     libraft::NodeOptions options;
 *     options.cluster = "hello";
 *     options.node_id = 1;
 *     options.directory = "hello-data";
 *     options.listen_address = "127.0.0.1:4001";
 *     libraft::Node node = libraft::Node::open(options).value();
 *
 *     libraft::GroupOptions group_options;
 *     group_options.group_id = 1;
 *     group_options.initial_members = {{1, "127.0.0.1:4001"}};
 *     libraft::Group group = node.start_group(group_options, std::make_unique<Sum>()).value();
 *     group.wait_ready(10s).value();
 *     libraft::Applied applied = group.propose("hello").get().value();
 *     std::cout << "applied at " << applied.index << ", the sum is " << applied.result << "\n";
 *   } catch (const libraft::Error &error) {
 *     std::cerr << error.name() << ": " << error.what() << "\n";
 *     return 1;
 *   }
 *
 *
 * ERRORS
 *
 * A call that can fail returns a Result, which is a value or an Error. `value()` throws the error
 * as the class that is named after its code, such as libraft::NotLeaderError. A program that is
 * compiled with -fno-exceptions uses the same calls, and asks the Result:
 *
 *   auto applied = group.propose("hello").get();
 *   if (!applied) std::fputs(applied.error().what(), stderr);
 *
 * No exception of the program's gets into the library: a state machine that throws stops its group
 * with what was thrown, and what a callback throws goes to set_stray_exception_handler.
 *
 *
 * OWNERSHIP AND THREADS
 *
 * Node and Group are move-only handles. Destroying a Node closes it, and waits until the callbacks
 * are over and the directory is released; destroying a Group only ends the handle. Texts and bytes
 * that a call is given are copied; what a callback is given is borrowed for the call. Any thread
 * may call anything; what blocks says so, and fails with Code::would_deadlock in a callback.
 */
#ifndef LIBRAFT_HPP
#define LIBRAFT_HPP

#include "libraft/batch.hpp"
#include "libraft/bytes.hpp"
#include "libraft/completion.hpp"
#include "libraft/error.hpp"
#include "libraft/group.hpp"
#include "libraft/log.hpp"
#include "libraft/membership.hpp"
#include "libraft/node.hpp"
#include "libraft/options.hpp"
#include "libraft/request.hpp"
#include "libraft/result.hpp"
#include "libraft/state_machine.hpp"
#include "libraft/status.hpp"

#endif
