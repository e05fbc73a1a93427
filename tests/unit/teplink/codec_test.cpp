// Frames of the endpoint link: every message there and back, every member missing or wrong, every
// frame cut at every byte, and noise.
#include "common/teplink/codec.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <set>

#include <nlohmann/json.hpp>

#include "support/endpoint_values.hpp"

namespace dstm::teplink {
namespace {

using Json = nlohmann::json;
using test::tunnel;

std::vector<Request> sample_requests() {
    Hello hello;
    hello.name = "tep1";
    hello.group = "campus";
    hello.types = {TunnelType::v4v6, TunnelType::v6udpv4};
    hello.outer_ipv6 = test::endpoint_outer;
    hello.outer_ipv4 = Ipv4Address::parse("198.51.100.1");
    hello.inner_ipv4 = test::endpoint_inner;
    hello.pools = {test::endpoint_pool};
    hello.inner_ipv6 = Ipv6Address::parse("2001:db8:100::1").value();
    hello.pools_ipv6 = {Ipv6Prefix::parse("2001:db8:100::/40").value()};
    hello.data_plane = "tun";
    hello.tunnels = 7;
    TunnelSpec six = tunnel("2001:db8:100::1", 0xffff'ffff'ffff'ffff, "198.51.100.9");
    six.type = TunnelType::v6udpv4;
    six.inner_prefix = Ipv6Prefix::parse("2001:db8:100::/48");
    six.outer_client.port = 65535;
    return {hello,
            Install{{tunnel("192.0.2.7"), six}},
            Remove{{{*parse_ip_address("192.0.2.7"), 3}, {*parse_ip_address("2001:db8::1"), 4}}},
            Sync{9, true, false, 12, {tunnel("192.0.2.7")}},
            List{parse_ip_address("192.0.2.7"), 10},
            Counters{}};
}

// With the method each answers.
std::vector<std::pair<Method, Answer>> sample_answers() {
    const ListedTunnel listed{tunnel("192.0.2.7"), 1, 2, 3, 4, test::noon,
                              test::noon + std::chrono::seconds(1)};
    return {{Method::hello, HelloAnswer{"dstm1"}},
            {Method::install, BatchAnswer{{Result<void>{}, fail(ErrorCode::conflict, "newer")}}},
            {Method::remove, BatchAnswer{{fail(ErrorCode::unavailable, "plane")}}},
            {Method::sync, SyncAnswer{}},
            {Method::sync, SyncAnswer{SyncTotals{1, 2, 3}}},
            {Method::list, ListAnswer{{listed}, parse_ip_address("192.0.2.8")}},
            {Method::list, ListAnswer{}},
            {Method::counters, CountersAnswer{{{"source-mismatch", 5}, {"expired", 0}}}}};
}

Frame decode_nothing_asked(std::string_view text) {
    return decode(text, [](RequestId) { return std::nullopt; });
}

int refusal_code(const Frame& frame) {
    const auto* bad = std::get_if<BadRequestFrame>(&frame);
    return bad == nullptr ? 0 : bad->code;
}

// Every pointer below `at` to a member of an object.
void collect_members(const Json& json, const Json::json_pointer& at,
                     std::vector<Json::json_pointer>& out) {
    if (json.is_object()) {
        for (const auto& [key, value] : json.items()) {
            out.push_back(at / key);
            collect_members(value, at / key, out);
        }
    } else if (json.is_array()) {
        for (std::size_t i = 0; i < json.size(); ++i) collect_members(json[i], at / i, out);
    }
}

std::vector<Json::json_pointer> members_of(const Json& json, const std::string& below) {
    std::vector<Json::json_pointer> members;
    const Json::json_pointer root(below);
    collect_members(json.at(root), root, members);
    return members;
}

void without(Json& json, const Json::json_pointer& member) {
    json.at(member.parent_pointer()).erase(member.back());
}

TEST(TeplinkCodec, EveryRequestComesBackAsItWas) {
    for (const auto& request : sample_requests()) {
        const auto text = encode_request(42, request);
        const auto frame = decode_nothing_asked(text);
        ASSERT_TRUE(std::holds_alternative<RequestFrame>(frame)) << text;
        EXPECT_EQ(std::get<RequestFrame>(frame).id, 42u);
        EXPECT_EQ(std::get<RequestFrame>(frame).request, request) << text;
    }
}

TEST(TeplinkCodec, EveryAnswerComesBackAsItWas) {
    for (const auto& [method, answer] : sample_answers()) {
        const auto text = encode_answer(7, answer);
        const auto frame = decode(text, [method](RequestId) { return method; });
        ASSERT_TRUE(std::holds_alternative<AnswerFrame>(frame)) << text;
        const auto& outcome = std::get<AnswerFrame>(frame).outcome;
        ASSERT_TRUE(outcome) << to_string(outcome.error());
        EXPECT_EQ(*outcome, answer) << text;
    }
}

TEST(TeplinkCodec, ListOfAnOlderEndpointIsReadWithoutTheTimeOfTheLastPacketDown) {
    const ListedTunnel listed{tunnel("192.0.2.7"), 1, 2, 3, 4, test::noon, test::noon};
    auto older = Json::parse(encode_answer(7, ListAnswer{{listed}, {}}));
    older["result"]["tunnels"][0].erase("last-seen-down");
    const auto frame = decode(older.dump(), [](RequestId) { return Method::list; });
    ASSERT_TRUE(std::holds_alternative<AnswerFrame>(frame));
    const auto& outcome = std::get<AnswerFrame>(frame).outcome;
    ASSERT_TRUE(outcome) << to_string(outcome.error());
    auto known = listed;
    known.last_seen_down = {};
    EXPECT_EQ(*outcome, Answer(ListAnswer{{known}, {}}));
}

TEST(TeplinkCodec, EveryNotificationComesBackAsItWas) {
    const std::vector<Notification> all{
        Idle{{*parse_ip_address("192.0.2.7")}},
        Idle{},
        Down{},
        Datagram{{*parse_ip_address("192.0.2.9"), 40000}, std::string("\xf0\0\0\xf0", 4)},
        Datagram{{*parse_ip_address("2001:db8::9"), 65535}, std::string(datagram_size_max, 1)}};
    for (const auto& notification : all) {
        const auto frame = decode_nothing_asked(encode_notification(notification));
        ASSERT_TRUE(std::holds_alternative<NotificationFrame>(frame));
        EXPECT_EQ(std::get<NotificationFrame>(frame).notification, notification);
    }
}

TEST(TeplinkCodec, DatagramsOutOfBoundsAreIgnored) {
    const Json good{{"peer", "192.0.2.9"}, {"port", 40000}, {"data", "8AAA8A=="}};
    const auto decoded = [](const Json& params) {
        const Json frame{{"jsonrpc", "2.0"}, {"method", "datagram"}, {"params", params}};
        return decode_nothing_asked(frame.dump());
    };
    EXPECT_TRUE(std::holds_alternative<NotificationFrame>(decoded(good)));
    const std::string over((datagram_size_max + 3) / 3 * 4 + 4, 'A');
    for (const auto& [key, values] : std::map<std::string, std::vector<Json>>{
             {"peer", {"", "name.example", "192.0.2.9:1", 7, nullptr}},
             {"port", {0, 65536, -1, "40000", 1.5, nullptr}},
             {"data", {"", "8AAA8A=", "not base64!", 7, over, nullptr}}}) {
        for (const auto& value : values) {
            auto bad = good;
            bad[key] = value;
            EXPECT_TRUE(std::holds_alternative<IgnoredFrame>(decoded(bad))) << bad.dump();
        }
        auto without = good;
        without.erase(key);
        EXPECT_TRUE(std::holds_alternative<IgnoredFrame>(decoded(without))) << without.dump();
    }
}

TEST(TeplinkCodec, RefusalBecomesTheErrorOfTheCall) {
    const auto frame = decode(encode_refusal(7, code_exhausted, "full"),
                              [](RequestId) { return Method::install; });
    ASSERT_TRUE(std::holds_alternative<AnswerFrame>(frame));
    EXPECT_EQ(std::get<AnswerFrame>(frame).outcome.error(), (Error{ErrorCode::exhausted, "full"}));
}

TEST(TeplinkCodec, SpecHasTheMembersOfTheContract) {
    const auto json = Json::parse(encode_request(1, Install{{tunnel("192.0.2.7", 5)}}));
    EXPECT_EQ(json, Json::parse(R"({"jsonrpc": "2.0", "id": 1, "method": "install", "params": {
        "tunnels": [{"type": "v4v6", "inner": "192.0.2.7", "outer-client": "2001:db8:1::5",
                     "outer-port": 0, "outer-server": "2001:db8:2::1", "generation": 5,
                     "expires-at": 1800003600}]}})"));
}

TEST(TeplinkCodec, MissingMemberIsRefusedAsInvalidParameters) {
    const std::set<std::string> optional{"outer-ipv6", "outer-ipv4", "from", "limit",
                                         "inner-prefix", "inner-ipv6", "pools-ipv6"};
    for (const auto& request : sample_requests()) {
        const auto whole = Json::parse(encode_request(3, request));
        for (const auto& member : members_of(whole, "/params")) {
            Json cut = whole;
            without(cut, member);
            const auto frame = decode_nothing_asked(cut.dump());
            const int expected = optional.contains(member.back()) ? 0 : code_invalid_params;
            EXPECT_EQ(refusal_code(frame), expected) << member.to_string();
        }
    }
}

TEST(TeplinkCodec, MemberOfAnotherTypeIsRefusedAsInvalidParameters) {
    const std::vector<Json> others{nullptr,
                                   true,
                                   "nonsense",
                                   Json::object(),
                                   Json::array({nullptr}),
                                   -1,
                                   1.5,
                                   Json::parse("1e300"),
                                   Json::parse("99999999999999999999")};
    for (const auto& request : sample_requests()) {
        const auto whole = Json::parse(encode_request(3, request));
        for (const auto& member : members_of(whole, "/params")) {
            for (const auto& other : others) {
                Json bent = whole;
                const Json& original = whole.at(member);
                if (original.is_boolean() && other.is_boolean()) continue;
                const bool is_name = member.back() == "name" || member.back() == "group" ||
                                     member.back() == "data-plane";
                if (is_name && other == "nonsense") continue;
                bent[member] = other;
                EXPECT_EQ(refusal_code(decode_nothing_asked(bent.dump())), code_invalid_params)
                    << member.to_string() << " = " << other;
            }
        }
    }
}

TEST(TeplinkCodec, UnknownMembersAreNotSeen) {
    for (const auto& request : sample_requests()) {
        Json more = Json::parse(encode_request(3, request));
        more["params"]["later"] = {{"a", 1}};
        more["trace"] = "x";
        const auto frame = decode_nothing_asked(more.dump());
        ASSERT_TRUE(std::holds_alternative<RequestFrame>(frame)) << more;
        EXPECT_EQ(std::get<RequestFrame>(frame).request, request);
    }
}

TEST(TeplinkCodec, UnknownTunnelTypeInHelloIsPassedOver) {
    Json hello = Json::parse(encode_request(3, sample_requests()[0]));
    hello["params"]["types"] = {"v4v6", "v9v9"};
    const auto frame = decode_nothing_asked(hello.dump());
    ASSERT_TRUE(std::holds_alternative<RequestFrame>(frame));
    const auto& request = std::get<Hello>(std::get<RequestFrame>(frame).request);
    EXPECT_EQ(request.types, std::vector{TunnelType::v4v6});
}

TEST(TeplinkCodec, AnswerWithoutANeededMemberIsAnInternalErrorOfTheCall) {
    for (const auto& [method, answer] : sample_answers()) {
        const auto whole = Json::parse(encode_answer(7, answer));
        for (const auto& member : members_of(whole, "/result")) {
            // Each counter stands for itself, and a sync's first total tells that there are any.
            const auto parent = member.parent_pointer().to_string();
            if (member.back() == "next" || member.back() == "installed") continue;
            if (member.back() == "last-seen-down") continue;
            if (parent.ends_with("/drops")) continue;
            Json cut = whole;
            without(cut, member);
            const auto frame = decode(cut.dump(), [m = method](RequestId) { return m; });
            ASSERT_TRUE(std::holds_alternative<AnswerFrame>(frame));
            const auto& outcome = std::get<AnswerFrame>(frame).outcome;
            ASSERT_FALSE(outcome) << member.to_string();
            EXPECT_EQ(outcome.error().code, ErrorCode::internal);
        }
    }
}

TEST(TeplinkCodec, AnswerToNothingThatWasAskedIsIgnored) {
    for (const std::string text : {R"({"jsonrpc":"2.0","id":9,"result":{}})",
                                   R"({"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}})",
                                   R"({"jsonrpc":"2.0","id":"9","result":{}})"}) {
        EXPECT_TRUE(std::holds_alternative<IgnoredFrame>(decode_nothing_asked(text))) << text;
    }
}

TEST(TeplinkCodec, EnvelopeMistakesHaveTheCodesOfJsonRpc) {
    const std::vector<std::pair<std::string, int>> table{
        {"", code_parse_error},
        {"{", code_parse_error},
        {"[]", code_invalid_request},
        {"5", code_invalid_request},
        {"{}", code_invalid_request},
        {R"({"jsonrpc":"2.0","id":1})", code_invalid_request},
        {R"({"id":1,"method":"counters"})", code_invalid_request},
        {R"({"jsonrpc":"1.0","id":1,"method":"counters"})", code_invalid_request},
        {R"({"jsonrpc":"2.0","id":1,"method":5})", code_invalid_request},
        {R"({"jsonrpc":"2.0","id":"a","method":"counters"})", code_invalid_request},
        {R"({"jsonrpc":"2.0","id":-1,"method":"counters"})", code_invalid_request},
        {R"({"jsonrpc":"2.0","id":1,"method":"destroy"})", code_method_not_found},
        {R"({"jsonrpc":"2.0","id":1,"method":"install","params":[1]})", code_invalid_params},
        {R"({"jsonrpc":"2.0","id":1,"method":"install"})", code_invalid_params},
        {R"({"jsonrpc":"2.0","id":1,"method":"list","params":{"limit":0}})", code_invalid_params},
    };
    for (const auto& [text, code] : table) {
        EXPECT_EQ(refusal_code(decode_nothing_asked(text)), code) << text;
    }
}

TEST(TeplinkCodec, MoreTunnelsThanAMessageMayHaveAreRefused) {
    Install install;
    install.tunnels.assign(tunnels_per_message_max, tunnel("192.0.2.7"));
    const auto full = encode_request(1, install);
    EXPECT_LT(full.size(), frame_size_max / 2);
    EXPECT_TRUE(std::holds_alternative<RequestFrame>(decode_nothing_asked(full)));
    install.tunnels.push_back(tunnel("192.0.2.8"));
    EXPECT_EQ(refusal_code(decode_nothing_asked(encode_request(1, install))), code_invalid_params);
}

TEST(TeplinkCodec, OversizedFrameIsRefusedUnread) {
    const std::string big(frame_size_max + 1, ' ');
    EXPECT_EQ(refusal_code(decode_nothing_asked(big)), code_invalid_request);
}

TEST(TeplinkCodec, DeepNestingIsRefusedWithoutDeepRecursion) {
    std::string open(frame_size_max / 2, '[');
    EXPECT_EQ(refusal_code(decode_nothing_asked(open)), code_parse_error);
    open += std::string(frame_size_max / 2, ']');
    EXPECT_EQ(refusal_code(decode_nothing_asked(open)), code_invalid_request);
}

TEST(TeplinkCodec, FrameCutAtAnyByteIsAParseError) {
    for (const auto& request : sample_requests()) {
        const auto text = encode_request(3, request);
        for (std::size_t size = 0; size < text.size(); ++size) {
            EXPECT_EQ(refusal_code(decode_nothing_asked(text.substr(0, size))), code_parse_error);
        }
    }
}

TEST(TeplinkCodec, NoiseNeverBecomesMoreThanAFrame) {
    std::mt19937 random(20261123);
    std::vector<std::string> seeds;
    for (const auto& request : sample_requests()) seeds.push_back(encode_request(3, request));
    for (const auto& [method, answer] : sample_answers()) {
        seeds.push_back(encode_answer(3, answer));
    }
    for (int round = 0; round < 20'000; ++round) {
        std::string text = seeds[random() % seeds.size()];
        for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips) {
            text[random() % text.size()] = static_cast<char>(random() % 256);
        }
        const auto method = static_cast<Method>(random() % 6);
        const auto frame = decode(text, [method](RequestId) { return method; });
        // What was read can be written and read again, and is the same.
        if (const auto* read = std::get_if<RequestFrame>(&frame)) {
            const auto again = decode_nothing_asked(encode_request(read->id, read->request));
            ASSERT_TRUE(std::holds_alternative<RequestFrame>(again)) << text;
            EXPECT_EQ(std::get<RequestFrame>(again).request, read->request);
        }
    }
}

TEST(TeplinkCodec, TextThatIsNotUtf8CanStillBeSent) {
    const auto text = encode_refusal(1, code_internal, "caf\xe9");
    EXPECT_FALSE(Json::parse(text, nullptr, false).is_discarded());
}

TEST(TeplinkMessage, CodesThatMeanSomethingToTheCallerSurviveTheWire) {
    for (const auto code : {ErrorCode::unavailable, ErrorCode::conflict, ErrorCode::exhausted,
                            ErrorCode::refused, ErrorCode::internal, ErrorCode::invalid}) {
        EXPECT_EQ(error_code(wire_code(code)), code);
    }
    EXPECT_EQ(error_code(wire_code(ErrorCode::timed_out)), ErrorCode::unavailable);
    EXPECT_EQ(error_code(12345), ErrorCode::internal);
}

TEST(TeplinkMessage, NamesAreShortAndPlain) {
    EXPECT_TRUE(is_valid_name("tep1.campus_a-b"));
    EXPECT_TRUE(is_valid_name(std::string(64, 'a')));
    for (const std::string bad : {"", "a b", "a/b", "t\xc3\xa9p", "a\n", "\"", "a:b"}) {
        EXPECT_FALSE(is_valid_name(bad)) << bad;
    }
    EXPECT_FALSE(is_valid_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace dstm::teplink
