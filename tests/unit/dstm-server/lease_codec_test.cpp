// Messages of the hook's stream socket: what goes out byte for byte, what comes in, good or bad.
#include "dstm-server/lease/codec.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lease_fixture.hpp"

namespace dstm::server::lease {
namespace {

using Json = nlohmann::json;
using namespace dstm::server::test;

Json parsed(const std::string& text) { return Json::parse(text); }

TEST(LeaseCodec, AllocateSaysWhatTheDocumentSays) {
    LeaseRequest request = request_of(0x8f);
    request.requested = address_of(7);
    request.subnet_id = 3;
    EXPECT_EQ(parsed(encode_allocate(7, Family::v4, request)), parsed(R"(
        {"id": 7, "command": "dstm4-lease-allocate", "arguments": {
          "client-id": "00:8f", "subnet-id": 3, "requested-address": "192.0.2.7",
          "valid-lifetime": 3600, "user-context": {"dstm": {
            "user": "alice", "host": "lab-7", "tunnel-type": "v4v6",
            "outer-address": "2001:db8:1::5", "outer-port": 0, "endpoint": "tep1",
            "generation": 100}}}})"));
}

TEST(LeaseCodec, ZeroMeansTheSubnetsOwnAndIsLeftOut) {
    LeaseRequest request = request_of(1);
    request.valid_lifetime_s = 0;
    const Json arguments = parsed(encode_allocate(1, Family::v4, request))["arguments"];
    EXPECT_FALSE(arguments.contains("valid-lifetime"));
    EXPECT_FALSE(arguments.contains("subnet-id"));
    EXPECT_FALSE(arguments.contains("requested-address"));
}

TEST(LeaseCodec, ReleaseBindsItsGenerationToWhatKeaCanHold) {
    const Json arguments = parsed(encode_release(1, address_of(7), {1}, UINT64_MAX))["arguments"];
    EXPECT_EQ(arguments, parsed(R"({"ip-address": "192.0.2.7", "client-id": "01",
                                    "up-to-generation": 9223372036854775807})"));
}

TEST(LeaseCodec, AUserNameOfAnyBytesStaysOneLineOfJson) {
    LeaseRequest request = request_of(1);
    request.context.user = "a\"b\\c\n\xff\x01";
    const std::string line = encode_allocate(1, Family::v4, request);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_TRUE(Json::accept(line));
}

TEST(LeaseCodec, AnAllocatedLeaseIsReadWhole) {
    const auto allocated =
        decode_allocated(Family::v4, lease_json(7, 0x8f, 100, "\"reused\":true,"));
    ASSERT_TRUE(allocated.has_value());
    EXPECT_EQ(allocated->lease, lease_of(7, 0x8f));
    EXPECT_TRUE(allocated->reused);
    EXPECT_FALSE(decode_allocated(Family::v4, lease_json(7, 0x8f))->reused);
}

TEST(LeaseCodec, EachReasonTellsTheCallerWhatToDo) {
    const std::vector<std::pair<std::string, ErrorCode>> table = {
        {"prefix-unavailable", ErrorCode::not_found},
        {"pool-exhausted", ErrorCode::exhausted}, {"bad-request", ErrorCode::invalid},
        {"not-serving", ErrorCode::unavailable},  {"not-found", ErrorCode::not_found},
        {"not-owner", ErrorCode::conflict},       {"stale", ErrorCode::conflict},
        {"internal", ErrorCode::internal},        {"something new", ErrorCode::internal}};
    for (const auto& [reason, code] : table) {
        const auto message = decode(Family::v4, failure_line(7, 1, reason));
        ASSERT_TRUE(message.has_value());
        const auto& answer = std::get<Answer>(*message);
        EXPECT_EQ(answer.id, 7u);
        ASSERT_TRUE(answer.error.has_value());
        EXPECT_EQ(answer.error->code, code) << reason;
    }
    const auto bare = decode(Family::v4, R"({"id": 7, "result": 3, "text": "none"})");
    EXPECT_EQ(std::get<Answer>(*bare).error->code, ErrorCode::not_found);
}

TEST(LeaseCodec, EachEventIsKnown) {
    const std::vector<std::pair<std::string, LeaseEnd>> table = {
        {"lease-expired", LeaseEnd::expired}, {"lease-released", LeaseEnd::released},
        {"lease-declined", LeaseEnd::declined}, {"lease-deleted", LeaseEnd::deleted}};
    for (const auto& [name, why] : table) {
        const auto message = decode(Family::v4, event_line(name, 12, lease_json(7, 1)));
        ASSERT_TRUE(message.has_value());
        const auto& ended = std::get<LeaseEnded>(*message);
        EXPECT_EQ(ended.why, why);
        EXPECT_EQ(ended.sequence, 12u);
        EXPECT_EQ(ended.lease, lease_of(7, 1));
    }
    EXPECT_TRUE(std::holds_alternative<Resync>(*decode(Family::v4, event_line("resync", 13))));
    EXPECT_TRUE(std::holds_alternative<UnknownEvent>(
        *decode(Family::v4, event_line("lease-sold", 14))));
    EXPECT_EQ(std::get<Hello>(*decode(Family::v4, hello_line(3))).sequence, 3u);
}

TEST(LeaseCodec, ALeaseThatIsNotOursIsPassedOver) {
    const std::string foreign = R"({"ip-address":"192.0.2.9","client-id":"01","valid-lifetime":1,
                                    "expires-at":2})";
    const auto ended = decode(Family::v4, event_line("lease-expired", 1, foreign));
    EXPECT_FALSE(std::get<LeaseEnded>(*ended).lease);
    const auto page =
        decode_page(Family::v4, "{\"leases\":[" + foreign + "," + lease_json(7, 1) + "]}");
    ASSERT_TRUE(page.has_value());
    EXPECT_EQ(page->leases, (std::vector<Lease>{lease_of(7, 1)}));
    EXPECT_EQ(page->unreadable, 0u);
    EXPECT_FALSE(page->next.has_value());
    EXPECT_FALSE(decode_allocated(Family::v4, foreign).has_value());
}

// --- family 6 ------------------------------------------------------------------------------------

const char* const lease_v6 = R"({"ip-address":"2001:db8:100::7","prefix":"2001:db8:200::/56",
    "client-id":"00:04:8f","hostname":"lab-7.alice.dstm.example.","valid-lifetime":3600,
    "expires-at":4600,"user-context":{"dstm":{"user":"alice","host":"lab-7",
    "tunnel-type":"v6udpv4","outer-address":"203.0.113.200","outer-port":41000,"endpoint":"tep1",
    "generation":100,"name-servers":["192.0.2.5","ns1.example.net"]}}})";

LeaseRequest request_v6() {
    LeaseRequest request;
    request.client_id = {0x00, 0x04, 0x8f};
    request.context = decode_lease(Family::v6, lease_v6)->context;
    request.prefix_length = 56;
    request.hostname = "lab-7.alice.dstm.example";
    return request;
}

TEST(LeaseCodec, AllocateOfFamily6AsksForAPrefixAndAName) {
    LeaseRequest request = request_v6();
    request.requested = *parse_ip_address("2001:db8:100::7");
    request.requested_prefix = Ipv6Prefix::parse("2001:db8:200::/56");
    EXPECT_EQ(parsed(encode_allocate(7, Family::v6, request)), parsed(R"(
        {"id": 7, "command": "dstm6-lease-allocate", "arguments": {
          "client-id": "00:04:8f", "requested-address": "2001:db8:100::7",
          "prefix-length": 56, "prefix": "2001:db8:200::/56",
          "hostname": "lab-7.alice.dstm.example.", "user-context": {"dstm": {
            "user": "alice", "host": "lab-7", "tunnel-type": "v6udpv4",
            "outer-address": "203.0.113.200", "outer-port": 41000, "endpoint": "tep1",
            "generation": 100, "name-servers": ["192.0.2.5", "ns1.example.net"]}}}})"));
}

TEST(LeaseCodec, TheOtherCommandsAreThoseOfTheAddressesFamily) {
    const IpAddress address = *parse_ip_address("2001:db8:100::7");
    EXPECT_EQ(parsed(encode_renew(1, address, request_v6()))["command"], "dstm6-lease-renew");
    EXPECT_EQ(parsed(encode_renew(1, address, request_v6()))["arguments"]["ip-address"],
              "2001:db8:100::7");
    EXPECT_EQ(parsed(encode_release(1, address, {1}, 2))["command"], "dstm6-lease-release");
    EXPECT_EQ(parsed(encode_list(1, Family::v6, address)), parsed(R"(
        {"id": 1, "command": "dstm6-lease-list",
         "arguments": {"limit": 1000, "from": "2001:db8:100::7"}})"));
    EXPECT_EQ(parsed(encode_list(1, Family::v4, {}))["command"], "dstm4-lease-list");
}

TEST(LeaseCodec, ALeaseOfFamily6IsReadWhole) {
    const auto lease = decode_lease(Family::v6, lease_v6);
    ASSERT_TRUE(lease.has_value());
    EXPECT_EQ(to_string(lease->address), "2001:db8:100::7");
    EXPECT_EQ(lease->prefix, Ipv6Prefix::parse("2001:db8:200::/56"));
    EXPECT_EQ(lease->hostname, "lab-7.alice.dstm.example");
    EXPECT_EQ(lease->context.type, TunnelType::v6udpv4);
    EXPECT_EQ(to_string(lease->context.outer_client), "203.0.113.200:41000");
    EXPECT_EQ(lease->context.name_servers,
              (std::vector<std::string>{"192.0.2.5", "ns1.example.net"}));
}

TEST(LeaseCodec, ALeaseOfTheOtherFamilyOrWithDamageIsRefused) {
    const std::string good = lease_v6;
    const auto with = [&](const std::string& from, const std::string& to) {
        auto text = good;
        return text.replace(text.find(from), from.size(), to);
    };
    EXPECT_TRUE(decode_lease(Family::v6, good).has_value());
    EXPECT_FALSE(decode_lease(Family::v4, good).has_value());
    EXPECT_FALSE(decode_lease(Family::v6, lease_json(7, 1)).has_value());
    EXPECT_FALSE(decode_lease(Family::v6, with("v6udpv4", "v4v6")).has_value());
    EXPECT_FALSE(decode_lease(Family::v6, with("::/56", "::1/56")).has_value());
    EXPECT_FALSE(decode_lease(Family::v6, with("[\"192.0.2.5\"", "[7")).has_value());
    EXPECT_FALSE(decode_page(Family::v6, R"({"leases": [], "next": "192.0.2.9"})").has_value());
}

TEST(LeaseCodec, OneDamagedLeaseDoesNotHideTheOthers) {
    const std::string damaged = R"({"ip-address":"192.0.2.9","user-context":{"dstm":{"user":1}}})";
    const auto page = decode_page(Family::v4, "{\"leases\":[" + damaged + "," + lease_json(7, 1) +
                                  R"(],"next":"192.0.2.9"})");
    ASSERT_TRUE(page.has_value());
    EXPECT_EQ(page->leases.size(), 1u);
    EXPECT_EQ(page->unreadable, 1u);
    EXPECT_EQ(page->next, address_of(9));
}

TEST(LeaseCodec, NonsenseIsAnErrorWithoutAnException) {
    for (const char* const line :
         {"", "{", "[]", "null", "1", "{}", R"({"id": -1, "result": 0})", R"({"id": "7"})",
          R"({"id": 7})", R"({"id": 7, "result": "0"})", R"({"id": 1.5, "result": 0})",
          R"({"event": 7, "sequence": 1})", R"({"event": "hello"})",
          R"({"event": "hello", "sequence": 1})", R"({"event": "resync", "sequence": -1})",
          "\xff\xfe", R"({"id": 99999999999999999999, "result": 0})"}) {
        EXPECT_FALSE(decode(Family::v4, line).has_value()) << line;
    }
    for (const char* const arguments :
         {"{}", "[]", "", R"({"ip-address": "192.0.2.300"})", R"({"ip-address": 7})"}) {
        EXPECT_FALSE(decode_allocated(Family::v4, arguments).has_value()) << arguments;
        EXPECT_FALSE(decode_page(Family::v4, arguments).has_value()) << arguments;
    }
    EXPECT_FALSE(decode_page(Family::v4, R"({"leases": [], "next": "x"})").has_value());
}

TEST(LeaseCodec, EveryTruncatedLineIsAnError) {
    const std::string line = event_line("lease-expired", 12, lease_json(7, 1));
    for (std::size_t size = 0; size + 2 < line.size(); ++size) {
        EXPECT_FALSE(decode(Family::v4, line.substr(0, size)).has_value()) << size;
    }
}

TEST(LeaseCodec, ClientIdsAreHexadecimalWithColons) {
    EXPECT_EQ(to_hex({0x00, 0x8f, 0xff}), "00:8f:ff");
    EXPECT_EQ(parse_hex("00:8F:ff"), (ClientId{0x00, 0x8f, 0xff}));
    for (const char* const bad : {"", "0", "000", "00:", "00:8", "0g", "00-8f", "00:8f:", ":00"}) {
        EXPECT_FALSE(parse_hex(bad).has_value()) << bad;
    }
}

}  // namespace
}  // namespace dstm::server::lease
