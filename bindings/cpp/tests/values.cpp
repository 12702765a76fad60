// Values: bytes, errors, results, options.
#include <array>
#include <cstring>
#include <vector>

#include "harness.hpp"

using namespace testing;
using libraft::bytes_view;

TEST_CASE("bytes are made of whatever holds bytes, without a copy") {
  const std::string text = "hello";
  const std::vector<std::uint8_t> numbers = {1, 2, 3};
  const std::array<unsigned char, 2> array = {7, 8};
  CHECK(bytes_view(text).data() == reinterpret_cast<const std::uint8_t *>(text.data()));
  CHECK(bytes_view("hello") == bytes_view(text));
  CHECK(bytes_view(std::string_view("a\0b", 3)).size() == 3);
  CHECK(bytes_view(numbers)[2] == 3);
  CHECK(bytes_view(array).size() == 2);
  CHECK(bytes_view().empty());
  CHECK(bytes_view("hello") != bytes_view("hellO"));
  CHECK_FALSE(std::is_constructible_v<bytes_view, std::vector<int>>);
}

TEST_CASE("a part of bytes never goes beyond them") {
  const bytes_view bytes = "hello";
  CHECK(bytes.sub(1, 3).text() == "ell");
  CHECK(bytes.sub(3).text() == "lo");
  CHECK(bytes.sub(3, 100).text() == "lo");
  CHECK(bytes.sub(100).empty());
  CHECK(bytes.sub(SIZE_MAX, SIZE_MAX).empty());
}

TEST_CASE("a result is a value or an error") {
  libraft::Result<std::string> good = std::string("value");
  CHECK(good);
  CHECK(*good == "value");
  CHECK(good->size() == 5);
  CHECK(good.error().code() == libraft::Code::ok);
  const libraft::Result<std::string> bad = libraft::Error(libraft::Code::busy, "not now");
  CHECK_FALSE(bad.has_value());
  CHECK(bad.error().code() == libraft::Code::busy);
  CHECK(std::string(bad.error().what()) == "not now");
  CHECK(std::string(bad.error().name()) == "BUSY");
  CHECK(libraft::Result<std::string>(bad).value_or("other") == "other");
  CHECK(libraft::Result<void>());
}

TEST_CASE("options have the defaults of the library") {
  libraft_node_options node;
  libraft_node_options_init(&node);
  node.listen_address = nullptr;  // which says the same
  const libraft_node_options given = libraft::NodeOptions().to_c();
  CHECK(std::memcmp(&node, &given, sizeof node) == 0);
  libraft_group_options group;
  libraft_group_options_init(&group);
  std::vector<libraft_initial_member> members;
  const libraft_group_options group_given = libraft::GroupOptions().to_c(members);
  CHECK(std::memcmp(&group, &group_given, sizeof group) == 0);
}

TEST_CASE("a batch holds its entries one behind the other") {
  libraft::Batch batch;
  batch.add("one");
  batch.add("");
  batch.add("three");
  CHECK(batch.size() == 3);
  CHECK(std::string(batch.data(), batch.offsets()[3]) == "onethree");
  CHECK(batch.offsets()[1] == batch.offsets()[2]);
  batch.clear();
  CHECK(batch.empty());
  CHECK(batch.offsets()[0] == 0);
}

#if LIBRAFT_EXCEPTIONS
TEST_CASE("the value of a failed call is its error, thrown as the class of its code") {
  const libraft::Result<int> result = libraft::Error(libraft::Code::not_leader, "ask another");
  CHECK_THROWS_AS(result.value(), libraft::NotLeaderError);
  CHECK_THROWS_AS(*result, libraft::Error);
  CHECK_THROWS_WITH(result.value(), "ask another");
  const libraft::Result<void> nothing = libraft::Error(libraft::Code::timeout, "late");
  CHECK_THROWS_AS(nothing.value(), libraft::TimeoutError);
  const libraft::Error newer(static_cast<libraft::Code>(999), "of a newer library");
  CHECK_THROWS_AS(newer.raise(), libraft::Error);
}

TEST_CASE("every code of the library is thrown as a class of its own") {
  int codes = 0;
  for (std::int32_t number = 1; number < 1000; ++number) {
    const std::string name = libraft_code_name(number);
    if (number == LIBRAFT_PENDING || name == "UNKNOWN") {
      continue;
    }
    CAPTURE(name);
    ++codes;
    const libraft::Error error(static_cast<libraft::Code>(number), "planted");
    try {
      error.raise();
    } catch (const libraft::Error &thrown) {
      CHECK(thrown.code() == error.code());
      CHECK(typeid(thrown) != typeid(libraft::Error));
    }
  }
  CHECK(codes == 46);
}
#endif
