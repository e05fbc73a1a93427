// The rules of an endpoint, one row each: what comes in, what goes out, which counter moves.
#include "tests/unit/dataplane/carrier_rows.hpp"

namespace dstm::dataplane::testing {
namespace {

class EndpointCarrier : public ::testing::Test {
protected:
    EndpointCarrier() {
        world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
        world.add(make_spec("192.0.2.8", "2001:db8:4::5"));
    }
    CarrierWorld world{endpoint_config()};
};

TEST_F(EndpointCarrier, UpCarriesWhatIsWholeAndNothingElse) {
    const auto good = plain("192.0.2.7", "203.0.113.80");
    auto with_options = fields("192.0.2.7", "203.0.113.80");
    with_options.options = {0x94, 4, 0, 0};  // router alert
    auto fragment = fields("192.0.2.7", "203.0.113.80");
    fragment.more_fragments = true;
    fragment.fragment_offset = 100;
    const auto good_with_options = make_ipv4(with_options);
    const auto good_fragment = make_ipv4(fragment);
    auto wrong_checksum = good;
    wrong_checksum[10] ^= 1;
    expect_rows_up(
        world, first_outer,
        {{"plain", good, "", good},
         {"options", good_with_options, "", good_with_options},
         {"inner fragment", good_fragment, "", good_fragment},
         {"bytes behind the end are cut off", joined(good, Packet(7)), "", good},
         {"a wrong header checksum is the host's to find", wrong_checksum, "", wrong_checksum},
         {"empty", {}, "inner_truncated", {}},
         {"IPv6 inside", changed(good, 0, 0x65), "inner_bad_version", {}},
         {"version 0", changed(good, 0, 0x05), "inner_bad_version", {}},
         {"header of 16 bytes", changed(good, 0, 0x44), "inner_bad_header_length", {}},
         {"header longer than the packet", changed(good, 0, 0x48), "inner_truncated", {}},
         {"total length below the header", changed(good, 3, 19), "inner_bad_total_length", {}},
         {"total length beyond the payload", changed(good, 3, 29), "inner_truncated", {}}});
}

TEST_F(EndpointCarrier, UpDropsAPacketCutAtAnyByte) {
    const auto whole = make_syn(fields("192.0.2.7", "203.0.113.80"), {2, 4, 0x05, 0xb4});
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const Packet cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        expect_rows_up(world, first_outer, {{"cut", cut, "inner_truncated", {}}});
    }
}

TEST_F(EndpointCarrier, UpChecksTheSource) {
    const auto to = std::string("203.0.113.80");
    expect_rows_up(world, first_outer,
                   {{"nobody's", plain("192.0.2.9", to), "unknown_inner", {}},
                    {"another client's", plain("192.0.2.8", to), "spoofed_inner", {}},
                    {"the endpoint's", plain("192.0.2.1", to), "bad_source", {}},
                    {"this network", plain("0.0.0.0", to), "bad_source", {}},
                    {"loopback", plain("127.0.0.1", to), "bad_source", {}},
                    {"multicast", plain("224.0.0.1", to), "bad_source", {}},
                    {"broadcast", plain("255.255.255.255", to), "bad_source", {}},
                    {"a host's outside", plain("203.0.113.80", to), "unknown_inner", {}}});
    expect_rows_up(world, stranger_outer,
                   {{"a client's", plain("192.0.2.7", to), "spoofed_outer", {}},
                    {"nobody's", plain("192.0.2.9", to), "unknown_outer", {}}});
    expect_rows_up(world, second_outer,
                   {{"another client's", plain("192.0.2.7", to), "spoofed_inner", {}}});
}

TEST_F(EndpointCarrier, UpGoesToHostsOnly) {
    const auto hairpin = plain("192.0.2.7", "192.0.2.8");
    const auto keepalive = plain("192.0.2.7", "192.0.2.1");
    expect_rows_up(world, first_outer,
                   {{"another client", hairpin, "", hairpin},
                    {"the endpoint", keepalive, "", keepalive},
                    {"loopback", plain("192.0.2.7", "127.0.0.1"), "bad_destination", {}},
                    {"multicast", plain("192.0.2.7", "224.0.0.251"), "bad_destination", {}},
                    {"broadcast", plain("192.0.2.7", "255.255.255.255"), "bad_destination", {}}});
}

TEST_F(EndpointCarrier, UpSetsEcnInAllSixteenCombinations) {
    // RFC 6040 s4.2, figure 4: [inner][outer], 9 = dropped. 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE.
    constexpr std::uint8_t figure[4][4] = {{0, 0, 0, 9}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    for (std::uint8_t inner = 0; inner < 4; ++inner) {
        for (std::uint8_t outer = 0; outer < 4; ++outer) {
            auto of = fields("192.0.2.7", "203.0.113.80");
            of.traffic_class = static_cast<std::uint8_t>(0xb8 | inner);
            const auto packet =
                make_ipv6(first_outer, endpoint_outer, static_cast<std::uint8_t>(0x28 | outer), 4,
                          make_ipv4(of));
            const auto outcome = world.up(packet);
            SCOPED_TRACE(std::to_string(inner) + " in " + std::to_string(outer));
            if (figure[inner][outer] == 9) {
                EXPECT_EQ(outcome.verdict.counter, "ecn_congested");
            } else {
                of.traffic_class = static_cast<std::uint8_t>(0xb8 | figure[inner][outer]);
                EXPECT_EQ(outcome.verdict.packet, make_ipv4(of)) << "with a right checksum";
            }
            expect_same(outcome, world.model_up(packet), "model");
        }
    }
}

TEST_F(EndpointCarrier, DownCopiesTheTrafficClassAndKnowsItsTunnels) {
    auto marked = fields("203.0.113.80", "192.0.2.7");
    marked.traffic_class = 0xbb;
    const auto good = plain("203.0.113.80", "192.0.2.7");
    expect_rows_down(
        world, endpoint_outer, first_outer,
        {{"plain", good, "", good},
         {"DSCP and CE", make_ipv4(marked), "", make_ipv4(marked)},
         {"no tunnel", plain("203.0.113.80", "192.0.2.9"), "no_tunnel", {}},
         {"neither IPv4 nor IPv6", changed(good, 0, 0x75), "inner_bad_version", {}},
         {"hairpin", plain("192.0.2.8", "192.0.2.7"), "", plain("192.0.2.8", "192.0.2.7")}});
}

TEST_F(EndpointCarrier, DownDropsTheRedirectsOfItsOwnKernel) {
    auto redirect = fields("192.0.2.1", "192.0.2.7");
    redirect.protocol = 1;
    redirect.payload = {5, 1, 0, 0, 0, 0, 0, 0};
    auto echo = redirect;
    echo.payload[0] = 0;
    auto foreign = redirect;
    foreign.source = v4("203.0.113.80");
    expect_rows_down(world, endpoint_outer, first_outer,
                     {{"its own", make_ipv4(redirect), "redirect", {}},
                      {"an echo reply", make_ipv4(echo), "", make_ipv4(echo)},
                      {"a router's", make_ipv4(foreign), "", make_ipv4(foreign)}});
}

TEST_F(EndpointCarrier, DownAnswersWhatDoesNotFitAndMayNotBeFragmented) {
    const auto fits = sized("203.0.113.80", "192.0.2.7", 1460, true);
    const auto fragmentable = sized("203.0.113.80", "192.0.2.7", 9000, false);
    expect_rows_down(
        world, endpoint_outer, first_outer,
        {{"fits", fits, "", fits}, {"fragmented outside", fragmentable, "", fragmentable}});
    const auto too_big = sized("203.0.113.80", "192.0.2.7", 1461, true);
    const auto outcome = world.down(too_big);
    expect_same(outcome, world.model_down(too_big), "too big");
    const auto& answer = outcome.verdict.answer;
    EXPECT_EQ(outcome.verdict.counter, "too_big");
    ASSERT_EQ(answer.size(), 576u);
    EXPECT_EQ(load_ipv4(answer, 12), v4("192.0.2.1"));
    EXPECT_EQ(load_ipv4(answer, 16), v4("203.0.113.80"));
    EXPECT_EQ(load16(answer, 20), 0x0304);
    EXPECT_EQ(load16(answer, 26), 1460) << "next-hop MTU, RFC 1191 s4";
    EXPECT_EQ(internet_checksum(ConstBytes(answer).first(20)), 0);
    EXPECT_EQ(internet_checksum(ConstBytes(answer).subspan(20)), 0);
    EXPECT_TRUE(std::equal(answer.begin() + 28, answer.end(), too_big.begin()));
}

TEST_F(EndpointCarrier, DownNeverAnswersAnErrorOrALaterFragment) {
    auto error = fields("203.0.113.80", "192.0.2.7");
    error.dont_fragment = true;
    error.payload = Packet(1500, 0);
    error.protocol = 1;
    error.payload[0] = 11;
    auto fragment = error;
    fragment.protocol = 17;
    fragment.fragment_offset = 1;
    for (const auto& of : {error, fragment}) {
        const auto outcome = world.down(make_ipv4(of));
        EXPECT_EQ(outcome.verdict.counter, "too_big");
        EXPECT_TRUE(outcome.verdict.answer.empty());
        expect_same(outcome, world.model_down(make_ipv4(of)), "no answer");
    }
}

TEST_F(EndpointCarrier, NothingIsCarriedFromTheSecondOfExpiryOn) {
    const auto up =
        make_ipv6(first_outer, endpoint_outer, 0, 4, plain("192.0.2.7", "203.0.113.80"));
    const auto down = plain("203.0.113.80", "192.0.2.7");
    const auto end = start.wall + std::chrono::hours(1);
    const Now last{start.instant, end - std::chrono::seconds(1)};
    const Now after{start.instant, end};
    EXPECT_EQ(world.up(up, last).verdict.counter, "");
    EXPECT_EQ(world.down(down, last).verdict.counter, "");
    expect_same(world.up(up, after), world.model_up(up, after), "up");
    expect_same(world.down(down, after), world.model_down(down, after), "down");
    EXPECT_EQ(world.carrier().drops().of(Drop::expired), 2u);
}

TEST_F(EndpointCarrier, MssIsClampedBothWaysAndTheChecksumStaysRight) {
    const std::vector<Packet> options{{2, 4, 0x05, 0xb4},               // 1460 at an even offset
                                      {1, 2, 4, 0x05, 0xb4, 1, 1, 0}};  // at an odd one
    for (const auto& option : options) {
        const auto up = make_syn(fields("192.0.2.7", "203.0.113.80"), option);
        const auto outer = make_ipv6(first_outer, endpoint_outer, 0, 4, up);
        const auto up_outcome = world.up(outer);
        auto wanted = option;
        const std::size_t at = option[0] == 1 ? 3 : 2;
        store16(wanted, at, 1420);
        EXPECT_EQ(up_outcome.verdict.packet, make_syn(fields("192.0.2.7", "203.0.113.80"), wanted));
        EXPECT_EQ(packets::tcp_checksum_error(up_outcome.verdict.packet), 0);
        expect_same(up_outcome, world.model_up(outer), "up");

        const auto down = make_syn(fields("203.0.113.80", "192.0.2.7"), option, 0x12);
        const auto clamped = make_syn(fields("203.0.113.80", "192.0.2.7"), wanted, 0x12);
        expect_rows_down(world, endpoint_outer, first_outer, {{"down", down, "", clamped}});
    }
}

TEST_F(EndpointCarrier, MssStaysWhereThereIsNoneOrItIsSmallOrNotASyn) {
    const auto of = fields("192.0.2.7", "203.0.113.80");
    for (const auto& packet :
         {make_syn(of, {2, 4, 0x02, 0x18}), make_syn(of, {}),
          make_syn(of, {2, 4, 0x05, 0xb4}, 0x10), make_syn(of, {0, 2, 4, 0xff}),
          make_syn(of, {3, 0, 2, 4}), make_syn(of, {1, 1, 1, 2}), make_syn(of, {2, 3, 0xff, 1}),
          make_syn(of, {8, 9, 2, 4})}) {
        expect_rows_up(world, first_outer, {{"as it came", packet, "", packet}});
    }
}

TEST_F(EndpointCarrier, PacketTooBigLowersThePathForTenMinutes) {
    const auto big = sized("203.0.113.80", "192.0.2.7", 1400, true);
    const auto sent = world.down(big).verdict.packet;
    ASSERT_FALSE(sent.empty());
    const auto outcome = world.relay(2, 0, 1400, sent);
    EXPECT_EQ(load16(outcome.verdict.answer, 26), 1360);
    expect_same(outcome, world.model_relay(2, 0, 1400, sent), "relayed");
    EXPECT_EQ(world.down(big).verdict.counter, "too_big");
    EXPECT_EQ(world.relay(2, 0, 1279, sent).verdict.answer, outcome.verdict.answer)
        << "below the minimum of IPv6 it is not believed";
    const auto later = Now{start.instant + std::chrono::minutes(10), start.wall};
    EXPECT_EQ(world.down(big, later).verdict.counter, "");
    EXPECT_EQ(world.down(sized("203.0.113.80", "192.0.2.8", 1400, true)).verdict.counter, "")
        << "the path to another far end is another path";
}

// RFC 1191 s4: from the client's inner address, about a packet of the endpoint's own.
Packet said_of_path(const char* by, const char* to, const char* quoted_to, std::uint16_t mtu,
                    const char* quoted_from = "192.0.2.1") {
    auto about = sized(quoted_from, quoted_to, 1460, true);
    about.resize(28);
    auto said = fields(by, to);
    said.protocol = 1;
    said.payload = {3, 4, 0, 0, 0, 0, 0, 0};
    store16(said.payload, 6, mtu);
    said.payload.insert(said.payload.end(), about.begin(), about.end());
    return make_ipv4(said);
}

TEST_F(EndpointCarrier, WhatAClientSaysOfItsPathLowersItForTenMinutes) {
    const auto big = sized("203.0.113.80", "192.0.2.7", 1400, true);
    const auto said = said_of_path("192.0.2.7", "192.0.2.1", "192.0.2.7", 1240);
    const auto outer = make_ipv6(first_outer, endpoint_outer, 0, 4, said);
    auto payload = said;
    const auto verdict =
        world.carrier().up({TunnelType::v4v6, {first_outer, 0}}, 0, payload, start);
    EXPECT_TRUE(verdict.path_mtu_changed);
    EXPECT_EQ(verdict.path_mtu, 1280u);
    EXPECT_EQ(world.up(outer).verdict.packet, said) << "the kernel hears of it too";
    const auto refused = world.down(big);
    EXPECT_EQ(refused.verdict.counter, "too_big");
    EXPECT_EQ(load16(refused.verdict.answer, 26), 1240);
    const auto later = Now{start.instant + std::chrono::minutes(10), start.wall};
    EXPECT_EQ(world.down(big, later).verdict.counter, "");
    EXPECT_EQ(world.down(sized("203.0.113.80", "192.0.2.8", 1400, true)).verdict.counter, "");
}

TEST_F(EndpointCarrier, WhatMayBeFragmentedIsToTheSizeThatTheClientSaid) {
    const auto said = said_of_path("192.0.2.7", "192.0.2.1", "192.0.2.7", 1240);
    static_cast<void>(world.up(make_ipv6(first_outer, endpoint_outer, 0, 4, said)));
    auto large = sized("203.0.113.80", "192.0.2.7", 1400, false);
    EXPECT_EQ(world.carrier().down(large, start).path_mtu, 1280u);
    auto small = sized("203.0.113.80", "192.0.2.7", 1240, false);
    EXPECT_EQ(world.carrier().down(small, start).path_mtu, 0u);
}

TEST_F(EndpointCarrier, AClientSpeaksForItsOwnPathOnly) {
    const auto big = sized("203.0.113.80", "192.0.2.7", 1400, true);
    for (const auto& said :
         {said_of_path("192.0.2.7", "203.0.113.80", "192.0.2.7", 1240),
          said_of_path("192.0.2.7", "192.0.2.1", "192.0.2.8", 1240),
          said_of_path("192.0.2.7", "192.0.2.1", "192.0.2.7", 1240, "203.0.113.80"),
          said_of_path("192.0.2.7", "192.0.2.1", "192.0.2.7", 1239)}) {
        EXPECT_EQ(world.up(make_ipv6(first_outer, endpoint_outer, 0, 4, said)).verdict.counter, "");
        EXPECT_EQ(world.down(big).verdict.counter, "");
    }
    const auto other = said_of_path("192.0.2.8", "192.0.2.1", "192.0.2.7", 1240);
    static_cast<void>(world.up(make_ipv6(second_outer, endpoint_outer, 0, 4, other)));
    EXPECT_EQ(world.down(big).verdict.counter, "");
    EXPECT_EQ(world.down(sized("203.0.113.80", "192.0.2.8", 1400, true)).verdict.counter, "");
}

TEST_F(EndpointCarrier, WhatAClientSaysOfItsPathMayBeCutShort) {
    const auto whole = said_of_path("192.0.2.7", "192.0.2.1", "192.0.2.7", 1240);
    for (std::size_t size = 20; size < whole.size() - 8; ++size) {
        auto cut = whole;
        cut.resize(size);
        store16(cut, 2, static_cast<std::uint16_t>(size));
        packets::fix_header_checksum(cut);
        const auto verdict =
            world.carrier().up({TunnelType::v4v6, {first_outer, 0}}, 0, cut, start);
        EXPECT_FALSE(verdict.path_mtu_changed) << size;
    }
}

TEST_F(EndpointCarrier, ErrorsFromThePathReachTheInnerSource) {
    const auto sent = world.down(plain("203.0.113.80", "192.0.2.7")).verdict.packet;
    struct Case {
        std::uint8_t type, code;
        bool relayed;
    };
    for (const auto& [type, code, relayed] : {Case{1, 0, true},
                                              {1, 3, true},
                                              {3, 0, true},
                                              {3, 1, false},
                                              {4, 1, true},
                                              {100, 0, false}}) {
        const auto outcome = world.relay(type, code, 0, sent);
        SCOPED_TRACE(std::to_string(type) + "/" + std::to_string(code));
        EXPECT_EQ(outcome.verdict.counter, relayed ? "" : "icmp_ignored");
        if (relayed) {
            EXPECT_EQ(load16(outcome.verdict.answer, 20), 0x0301) << "host unreachable";
        }
        expect_same(outcome, world.model_relay(type, code, 0, sent), "model");
    }
}

TEST_F(EndpointCarrier, ErrorsAboutPacketsThatWereNotSentAreIgnored) {
    const auto inner = sized("203.0.113.80", "192.0.2.7", 1400, true);
    const auto elsewhere = make_ipv6(endpoint_outer, second_outer, 0, 4, inner);
    const auto nobody = make_ipv6(endpoint_outer, first_outer, 0, 4, plain("1.1.1.1", "192.0.2.9"));
    for (const auto& about : {elsewhere, nobody}) {
        const auto outcome = world.relay(2, 0, 1280, about);
        EXPECT_EQ(outcome.verdict.counter, "icmp_ignored");
        expect_same(outcome, world.model_relay(2, 0, 1280, about), "forged");
    }
    EXPECT_EQ(world.down(inner).verdict.counter, "") << "the path is as it was";
}

TEST(EndpointCarrierWithoutHairpin, DropsFromClientToClientOnly) {
    auto config = endpoint_config();
    config.hairpin = false;
    CarrierWorld world(config);
    world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
    world.add(make_spec("192.0.2.8", "2001:db8:4::5"));
    const auto from_outside = plain("203.0.113.80", "192.0.2.7");
    const auto from_endpoint = plain("192.0.2.1", "192.0.2.7");
    expect_rows_down(world, endpoint_outer, first_outer,
                     {{"client", plain("192.0.2.8", "192.0.2.7"), "hairpin_off", {}},
                      {"outside", from_outside, "", from_outside},
                      {"endpoint", from_endpoint, "", from_endpoint}});
}

}  // namespace
}  // namespace dstm::dataplane::testing
