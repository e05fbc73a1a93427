// Every bad parameter is named in the message that refuses it.
#include "kea-hook/parameters.hpp"

#include <gtest/gtest.h>

namespace dstm::kea {
namespace {

std::string refusal(const std::string& json) {
    const auto result = read_parameters(isc::data::Element::fromJSON(json));
    return result ? "accepted" : result.error().context;
}

TEST(KeaHookParameters, GoodOnesAreRead) {
    auto result = read_parameters(isc::data::Element::fromJSON(
        R"({"socket-name": "/tmp/dstm4.sock", "socket-mode": "0600"})"));
    ASSERT_TRUE(result);
    EXPECT_EQ(result->socket_name, "/tmp/dstm4.sock");
    EXPECT_EQ(result->socket_mode, mode_t{0600});
    result = read_parameters(isc::data::Element::fromJSON(R"({"socket-name": "/tmp/dstm4.sock"})"));
    ASSERT_TRUE(result);
    EXPECT_EQ(result->socket_mode, mode_t{0660});
}

TEST(KeaHookParameters, EachMistakeIsNamed) {
    const std::string name = "parameter 'socket-name': ";
    const std::string mode = "parameter 'socket-mode': ";
    EXPECT_EQ(refusal("{}"), name + "is missing");
    EXPECT_EQ(refusal(R"({"socket-name": 3})"), name + "must be a string");
    EXPECT_EQ(refusal(R"({"socket-name": ""})"), name + "must not be empty");
    EXPECT_EQ(refusal(R"({"socket-name": "dstm.sock"})"),
              name + "must be an absolute path: dstm.sock");
    EXPECT_EQ(refusal(R"({"socket-name": "/tmp/"})"), name + "names a folder: /tmp/");
    EXPECT_EQ(refusal(R"({"socket-name": "/no/such/folder/s"})"),
              name + "no such folder: /no/such/folder");
    const std::string path = "/tmp/" + std::string(103, 'x');
    EXPECT_EQ(refusal("{\"socket-name\": \"" + path + "\"}"),
              name + "is longer than the 107 bytes of a socket's path: " + path);
    const std::string with_name = R"({"socket-name": "/tmp/s", )";
    for (const char* bad : {"abc", "0999", "66", "6660", "", "00660", "0x1"}) {
        EXPECT_EQ(refusal(with_name + "\"socket-mode\": \"" + bad + "\"}"),
                  mode + "must be three octal digits such as \"0660\": " + bad);
    }
    EXPECT_EQ(refusal(with_name + R"("socket-mode": 660})"), mode + "must be a string");
    EXPECT_EQ(refusal(with_name + R"("socket-nmae": "/tmp/s"})"),
              "parameter 'socket-nmae': is unknown (known are socket-name and socket-mode)");
    EXPECT_EQ(refusal("[]"), "'parameters' must be a map");
    EXPECT_EQ(read_parameters(nullptr).error().context, name + "is missing");
}

}  // namespace
}  // namespace dstm::kea
