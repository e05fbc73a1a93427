#include "common/tsp/tunnel_xml.hpp"

#include <atomic>
#include <random>
#include <thread>

#include <gtest/gtest.h>

namespace dstm::tsp {
namespace {

Address address(AddressType type, std::string text, std::optional<std::uint32_t> length = {}) {
    return {type, std::move(text), length};
}

TunnelMessage parsed(std::string_view xml) {
    auto message = parse_tunnel_xml(xml);
    EXPECT_TRUE(message) << (message ? "" : message.error().context) << '\n' << xml;
    return message ? *message : TunnelMessage{};
}

std::string fault(std::string_view xml) {
    const auto message = parse_tunnel_xml(xml);
    return message ? "none" : message.error().context;
}

// What deployed clients send (their v4v6 mode), byte for byte.
constexpr auto deployed_create = R"(<tunnel action="create" type="v4v6" proxy="no">
 <client>
  <address type="ipv6">2001:db8:1::5</address>
  <keepalive interval="30">
    <address type="ipv4">127.0.0.1</address>
  </keepalive>
 </client>
</tunnel>
)";

TunnelMessage create_v4v6() {
    TunnelMessage message;
    message.type = RequestType::v4v6;
    message.client.emplace();
    message.client->addresses = {address(AddressType::ipv6, "2001:db8:1::5")};
    message.client->keepalive = Keepalive{30, address(AddressType::ipv4, "127.0.0.1")};
    return message;
}

TunnelMessage info_v4v6() {
    TunnelMessage message;
    message.action = Action::info;
    message.type = RequestType::v4v6;
    message.lifetime_min = 60;
    message.server.emplace();
    message.server->addresses = {address(AddressType::ipv4, "192.0.2.1"),
                                 address(AddressType::ipv6, "2001:db8:2::1")};
    message.client.emplace();
    message.client->addresses = {address(AddressType::ipv4, "192.0.2.7", 32),
                                 address(AddressType::ipv6, "2001:db8:1::5"),
                                 address(AddressType::dn, "alice.example")};
    message.client->keepalive = Keepalive{30, address(AddressType::ipv4, "192.0.2.1")};
    message.lease_seconds = 3600;
    return message;
}

TEST(TunnelXml, ReadsTheCreateOfDeployedClients) {
    EXPECT_EQ(parsed(deployed_create), create_v4v6());
}

TEST(TunnelXml, WhiteSpaceQuotesAttributeOrderPrologAndCommentsAreFree) {
    EXPECT_EQ(parsed("\r\n <?xml version='1.0'?><!-- hello --><tunnel\n\ttype = 'v4v6'\r\n "
                     "action='create' ><client><keepalive\tinterval='30'><address type='ipv4'>"
                     "\n127.0.0.1 </address></keepalive><address type='ipv6'>\r\n   2001:db8:1::5"
                     "\t</address ></client></tunnel >\r\n\r\n"),
              create_v4v6());
}

TEST(TunnelXml, PrologMayFollowWhiteSpace) {
    EXPECT_EQ(
        parsed("\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<tunnel action=\"accept\"/>")
            .action,
        Action::accept);
}

TEST(TunnelXml, ReadsAcceptWithoutAType) {
    const auto message = parsed("<tunnel action=\"accept\"></tunnel>\r\n");
    EXPECT_EQ(message.action, Action::accept);
    EXPECT_FALSE(message.type);
    EXPECT_FALSE(message.unknown_type);
}

TEST(TunnelXml, UnknownTypeIsKeptForTheAnswer) {
    const auto message = parsed("<tunnel action=\"create\" type=\"v6v6\"/>");
    EXPECT_FALSE(message.type);
    EXPECT_EQ(message.unknown_type, "v6v6");
    EXPECT_EQ(parsed("<tunnel action=\"create\" type=\"\"/>").unknown_type, "");
    EXPECT_EQ(parsed("<tunnel action=\"create\" type=\"V4V6\"/>").unknown_type, "V4V6");
}

// RFC 5572 s5.2: the router's request.
TEST(TunnelXml, ReadsARouterRequest) {
    const auto message = parsed(R"(<tunnel action="create" type="v6v4"><client>
        <address type="ipv4">192.0.2.9</address><router><prefix length="48"/><dns_server>
        <address type="ipv4">192.0.2.5</address><address type="ipv6">2001:db8::1</address>
        </dns_server></router></client></tunnel>)");
    ASSERT_TRUE(message.client && message.client->router);
    EXPECT_EQ(message.client->router->prefix, (Prefix{48, ""}));
    EXPECT_EQ(message.client->router->dns_servers,
              (std::vector{address(AddressType::ipv4, "192.0.2.5"),
                           address(AddressType::ipv6, "2001:db8::1")}));
}

// Where deployed clients put it (D12): it does not ask for a prefix.
TEST(TunnelXml, ReadsNameServersOutsideTheRouterToo) {
    const auto message = parsed(R"(<tunnel action="create" type="v6v4"><client>
        <address type="ipv4">192.0.2.9</address>
        <dns_server><address type="dn">ns1.example</address></dns_server></client></tunnel>)");
    EXPECT_FALSE(message.client->router);
    EXPECT_EQ(message.client->dns_servers,
              (std::vector{address(AddressType::dn, "ns1.example")}));
    EXPECT_EQ(message.client->addresses.size(), 1U);
}

// Figure 18; the last literal is invalid and kept as text (D7).
TEST(TunnelXml, ReadsTheReplyOfFigure18) {
    const auto message = parsed(R"(<tunnel action="info" type="v4v6" lifetime="1440">
      <server>
         <address type="ipv4" length="30">192.0.2.2</address>
         <address type="ipv6">2001:db8:c18:ffff:0000:0000:0000:0002</address>
      </server>
      <client>
         <address type="ipv4" length="30">192.0.2.1</address>
         <address type="ipv6">2001:db8:c18:ffff::0000:0000:0000:0001</address>
      </client>
    </tunnel>)");
    EXPECT_EQ(message.lifetime_min, 1440u);
    EXPECT_EQ(*message.server->find(AddressType::ipv4),
              address(AddressType::ipv4, "192.0.2.2", 30));
    EXPECT_EQ(message.client->find(AddressType::ipv6)->text,
              "2001:db8:c18:ffff::0000:0000:0000:0001");
    EXPECT_EQ(message.client->find(AddressType::dn), nullptr);
}

// Figure 9, D2, D3.
TEST(TunnelXml, ReadsABrokerList) {
    const auto message = parsed(R"(<tunnel action="list" type="broker"><broker>
        <address type="ipv4">1.2.3.4</address></broker><broker>
        <address type="dn">ts1.isp1.com</address>
        </broker></tunnel>)");
    EXPECT_EQ(message.action, Action::list);
    EXPECT_EQ(message.type, RequestType::broker);
    EXPECT_EQ(message.brokers, (std::vector<Broker>{{{address(AddressType::ipv4, "1.2.3.4")}},
                                                    {{address(AddressType::dn, "ts1.isp1.com")}}}));
}

TEST(TunnelXml, UnknownElementsAttributesAndAddressTypesAreIgnored) {
    EXPECT_EQ(parsed(R"(<tunnel action="create" type="v4v6" mtu="1280"><as number="1"/><client>
        <proxy><address type="dn">x.example</address></proxy>
        <address type="ipv6" scope="global"><note>no</note>2001:db8:1::5</address>
        <address type="e164">123</address>
        <keepalive interval="30"><address type="ipv4">127.0.0.1</address></keepalive>
        <x><client><address type="bad"/></client></x></client>
        <address type="ipv6">::1</address></tunnel>)"),
              create_v4v6());
}

TEST(TunnelXml, EntitiesAndCharacterDataAreText) {
    EXPECT_EQ(parsed("<tunnel action=\"cre&#97;te\" type=\"v4v6\"><client><address type=\"dn\">"
                     "a&lt;b&amp;c<![CDATA[<d>]]>&#x65;</address></client></tunnel>")
                  .client->addresses[0]
                  .text,
              "a<b&c<d>e");
}

TEST(TunnelXml, EmptyLengthIsNoLength) {
    EXPECT_FALSE(parsed("<tunnel action=\"create\" type=\"v4v6\"><client><address type=\"ipv6\" "
                        "length=\"\">::1</address></client></tunnel>")
                     .client->addresses[0]
                     .length);
}

TEST(TunnelXml, MissingOrWrongAttributesAreErrors) {
    const auto within = [](std::string inner) {
        return "<tunnel action=\"create\" type=\"v4v6\"><client>" + inner + "</client></tunnel>";
    };
    EXPECT_EQ(fault("<tunnel type=\"v4v6\"/>"), "attribute action is missing");
    EXPECT_EQ(fault("<tunnel action=\"destroy\"/>"), "attribute action is unknown");
    EXPECT_EQ(fault("<tunnel action=\"Create\"/>"), "attribute action is unknown");
    EXPECT_EQ(fault("<tunel action=\"create\"/>"), "root element is not tunnel");
    EXPECT_EQ(fault(within("<address>::1</address>")), "address has no type");
    EXPECT_EQ(fault(within("<keepalive/>")), "attribute interval is missing");
    EXPECT_EQ(fault(within("<router><prefix/></router>")), "attribute length is missing");
    for (const auto* number : {"-1", "+1", " 1", "1 ", "0x1", "1.0", "4294967296", "abc"}) {
        EXPECT_EQ(fault("<tunnel action=\"info\" lifetime=\"" + std::string(number) + "\"/>"),
                  "attribute lifetime is not a number");
        EXPECT_EQ(fault(within("<keepalive interval=\"" + std::string(number) + "\"/>")),
                  "attribute interval is not a number");
        EXPECT_EQ(fault(within("<address type=\"ipv6\" length=\"" + std::string(number) + "\"/>")),
                  "attribute length is not a number");
    }
}

TEST(TunnelXml, ElementsThatStandOnceAreErrorsTwice) {
    const auto twice = [](std::string element, std::string before, std::string after) {
        return fault("<tunnel action=\"create\">" + before + element + element + after +
                     "</tunnel>");
    };
    EXPECT_EQ(twice("<client/>", "", ""), "server or client stands twice");
    EXPECT_EQ(twice("<server/>", "", ""), "server or client stands twice");
    EXPECT_EQ(twice("<router/>", "<client>", "</client>"), "router stands twice");
    EXPECT_EQ(twice("<keepalive interval=\"1\"/>", "<client>", "</client>"),
              "keepalive stands twice");
    EXPECT_EQ(twice("<prefix length=\"1\"/>", "<client><router>", "</router></client>"),
              "prefix stands twice");
}

TEST(TunnelXml, HostIdHas1To64CharactersOfItsAlphabet) {
    const auto with_id = [](const std::string& id) {
        return "<tunnel action=\"create\"><host id=\"" + id + "\"></host></tunnel>";
    };
    for (const auto& good : {std::string("a"), std::string("Az09_-"), std::string(64, 'x')}) {
        EXPECT_EQ(parsed(with_id(good)).host_id, good);
    }
    for (const auto& bad : {std::string(), std::string("a b"), std::string("a.b"),
                            std::string("\xc3\xa4"), std::string(65, 'x')}) {
        EXPECT_EQ(fault(with_id(bad)), "host has no valid id") << bad;
    }
    EXPECT_EQ(fault("<tunnel action=\"create\"><host/></tunnel>"), "host has no valid id");
}

TEST(TunnelXml, WritesForNaiveParsers) {
    EXPECT_EQ(write_tunnel_xml(info_v4v6()),
              "<tunnel action=\"info\" type=\"v4v6\" lifetime=\"60\">\r\n"
              "  <server>\r\n"
              "    <address type=\"ipv4\">192.0.2.1</address>\r\n"
              "    <address type=\"ipv6\">2001:db8:2::1</address>\r\n"
              "  </server>\r\n"
              "  <client>\r\n"
              "    <address type=\"ipv4\" length=\"32\">192.0.2.7</address>\r\n"
              "    <address type=\"ipv6\">2001:db8:1::5</address>\r\n"
              "    <address type=\"dn\">alice.example</address>\r\n"
              "    <keepalive interval=\"30\">\r\n"
              "      <address type=\"ipv4\">192.0.2.1</address>\r\n"
              "    </keepalive>\r\n"
              "  </client>\r\n"
              "  <lease seconds=\"3600\"></lease>\r\n"
              "</tunnel>\r\n");
}

TEST(TunnelXml, WritesAcceptInThe35BytesThatEverybodySends) {
    TunnelMessage accept;
    accept.action = Action::accept;
    EXPECT_EQ(write_tunnel_xml(accept), "<tunnel action=\"accept\"></tunnel>\r\n");
    EXPECT_EQ(write_tunnel_xml(accept).size(), 35u);
}

TEST(TunnelXml, EscapesTextAndReplacesWhatXmlCannotHold) {
    TunnelMessage message;
    message.client.emplace();
    message.client->addresses = {address(AddressType::dn, "<a b=\"c\">&\r\n\x01\xff.")};
    const auto xml = write_tunnel_xml(message);
    EXPECT_NE(xml.find(">&lt;a b=&quot;c&quot;&gt;&amp;????.</address>"), std::string::npos) << xml;
    EXPECT_EQ(parsed(xml).client->addresses[0].text, "<a b=\"c\">&????.");
}

// Random messages of every shape come back as they were.
class RandomMessage {
public:
    explicit RandomMessage(unsigned seed) : random_(seed) {}

    TunnelMessage make() {
        TunnelMessage message;
        message.action = static_cast<Action>(below(6));
        if (below(2))
            message.type = static_cast<RequestType>(below(5));
        else if (below(2))
            message.unknown_type = "x" + text();
        if (below(2)) message.lifetime_min = number();
        if (below(2)) message.server = party();
        if (below(2)) message.client = party();
        for (auto n = below(3); n > 0; --n) message.brokers.push_back({addresses()});
        if (below(2)) message.lease_seconds = number();
        if (below(2)) message.host_id = "host-" + std::to_string(below(1000));
        return message;
    }

private:
    unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
    std::uint32_t number() { return static_cast<std::uint32_t>(random_()); }
    std::string text() {
        std::string out = "t";
        for (auto n = below(20); n > 0; --n) out += static_cast<char>(0x20 + below(0x5f));
        return out + "e";
    }
    Address address_of_any_kind() {
        Address made{static_cast<AddressType>(below(3)), text(), {}};
        if (below(2)) made.length = number();
        return made;
    }
    std::vector<Address> addresses() {
        std::vector<Address> made;
        for (auto n = below(4); n > 0; --n) made.push_back(address_of_any_kind());
        return made;
    }
    Party party() {
        Party made{addresses(), {}, {}};
        if (below(2)) {
            made.router.emplace();
            if (below(2)) made.router->prefix = Prefix{number(), below(2) ? text() : ""};
            made.router->dns_servers = addresses();
        }
        if (below(2)) {
            made.keepalive = Keepalive{number(), {}};
            if (below(2)) made.keepalive->address = address_of_any_kind();
        }
        return made;
    }

    std::mt19937 random_;
};

TEST(TunnelXml, WhatIsWrittenIsReadBack) {
    RandomMessage messages(7);
    for (int i = 0; i < 2000; ++i) {
        const auto message = messages.make();
        ASSERT_EQ(parsed(write_tunnel_xml(message)), message) << write_tunnel_xml(message);
    }
}

TEST(TunnelXml, MayBeReadFromManyThreadsAtOnce) {
    std::vector<std::thread> threads;
    std::atomic<int> good = 0;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            for (int j = 0; j < 50; ++j) {
                const auto message = parse_tunnel_xml(deployed_create);
                if (message && *message == create_v4v6()) ++good;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(good, 400);
}

}  // namespace
}  // namespace dstm::tsp
