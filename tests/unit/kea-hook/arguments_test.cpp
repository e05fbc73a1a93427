// Every malformed argument is refused with its name.
#include "kea-hook/arguments.hpp"

#include <gtest/gtest.h>

namespace dstm::kea {
namespace {

// All readers once, as a command that knows them all.
std::string mistake(const std::string& json, int family = AF_INET) {
    Arguments reader(isc::data::Element::fromJSON(json), family);
    [[maybe_unused]] const auto client = reader.client_id();
    [[maybe_unused]] const auto address = reader.address("requested-address");
    [[maybe_unused]] const auto number = reader.number("valid-lifetime", 1, 100);
    [[maybe_unused]] const auto hostname = reader.hostname();
    [[maybe_unused]] const auto context = reader.user_context();
    const auto found = reader.mistake();
    return found ? found->text : "none";
}

TEST(KeaArguments, GoodOnesPass) {
    EXPECT_EQ(mistake(R"({"client-id": "00:8f", "requested-address": "192.0.2.1",
                          "valid-lifetime": 100, "hostname": "lab-7.example.",
                          "user-context": {"dstm": {"generation": 5}, "x": 1}})"),
              "none");
}

TEST(KeaArguments, EachMistakeNamesItsArgument) {
    const auto with = [](const std::string& rest) {
        return mistake(R"({"client-id": "00:8f", )" + rest + "}");
    };
    EXPECT_EQ(mistake("[]"), "arguments must be a map");
    EXPECT_EQ(mistake("{}"), "argument 'client-id' is missing");
    EXPECT_EQ(mistake(R"({"client-id": 7})"),
              "argument 'client-id' must be hexadecimal bytes with colons");
    EXPECT_EQ(mistake(R"({"client-id": "00"})"), "argument 'client-id' must have 2 to 128 bytes");
    EXPECT_EQ(with(R"("requested-address": "2001:db8::1")"),
              "argument 'requested-address' must be an IPv4 address");
    EXPECT_EQ(with(R"("requested-address": 1)"),
              "argument 'requested-address' must be an IPv4 address");
    for (const char* bad : {"0", "101", "\"5\"", "1.5", "true"}) {
        EXPECT_EQ(with(std::string(R"("valid-lifetime": )") + bad),
                  "argument 'valid-lifetime' must be a number from 1 to 100");
    }
    for (const char* bad : {"7", R"("a b")", R"("a..b")", R"(".a")", R"("a;b")"}) {
        EXPECT_EQ(with(std::string(R"("hostname": )") + bad),
                  "argument 'hostname' must be a host name");
    }
    EXPECT_EQ(with(R"("user-context": [])"), "argument 'user-context' must be a map");
    EXPECT_EQ(with(R"("user-context": {"dstm": 1})"), "argument 'user-context.dstm' must be a map");
    EXPECT_EQ(with(R"("user-context": {"dstm": {"generation": -1}})"),
              "argument 'user-context.dstm.generation' must be a number, not below 0");
    EXPECT_EQ(with("\"user-context\": {\"x\": \"" + std::string(5000, 'x') + "\"}"),
              "argument 'user-context' is longer than 4096 bytes");
    EXPECT_EQ(with(R"("client": 1)"), "argument 'client' is unknown here");
    EXPECT_EQ(mistake(R"({"client-id": "00:04", "requested-address": "192.0.2.1"})", AF_INET6),
              "argument 'requested-address' must be an IPv6 address");
    EXPECT_EQ(mistake(R"({"client-id": "00:04", "requested-address": "2001:db8::1"})", AF_INET6),
              "none");
}

}  // namespace
}  // namespace dstm::kea
