// The UDP side over loopback, with an authenticator and a tunnel service in memory.
#include "dstm-server/net/udp_listener.hpp"

#include <gtest/gtest.h>

#include <array>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "event_loop.hpp"
#include "fake_edges.hpp"

namespace dstm::server::net {
namespace {

using namespace std::chrono_literals;
using fake::FakeAuthenticator;
using fake::FakeService;
using test::run_until;
using Udp = asio::ip::udp;

const std::string create_xml =
    R"(<tunnel action="create" type="v4v6"><client><address type="ipv6">::1</address></client>)"
    "</tunnel>\r\n";
const std::string accept_xml = "<tunnel action=\"accept\"></tunnel>\r\n";

std::string framed(const std::string& xml) {
    return "Content-length: " + std::to_string(xml.size()) + "\r\n" + xml;
}

class Client {
public:
    Client(asio::io_context& events, const char* address, std::uint16_t port) : socket_(events) {
        const Udp::endpoint server(asio::ip::make_address(address), port);
        socket_.connect(server);  // so that replies from elsewhere do not arrive
        socket_.non_blocking(true);
    }
    void say(std::uint32_t sequence, const std::string& data) {
        socket_.send(asio::buffer(tsp::encode_udp_packet({{sequence, 7}, data})));
    }
    // The data of the one reply that has come; nullopt: none yet.
    std::optional<std::string> hear() {
        std::array<char, 4096> buffer{};
        ErrorCodeOfAsio error;
        const auto size = socket_.receive(asio::buffer(buffer), 0, error);
        const auto packet = tsp::decode_udp_packet({buffer.data(), size});
        if (error || !packet) return std::nullopt;
        return std::string(packet->data);
    }
    Udp::socket& socket() { return socket_; }

private:
    Udp::socket socket_;
};

class UdpListenerTest : public testing::Test {
protected:
    void start() {
        config_.session.tunnel_types = {tsp::RequestType::v4v6};
        config_.session.mechanisms = authenticator_.mechanisms({});
        if (config_.listen.empty()) config_.listen = {{Ipv6Address(), 0}};
        listener_ = std::make_unique<UdpListener>(config_, events_, clock_, authenticator_,
                                                  service_, relay_, [this] { return is_willing_; });
        const auto started = listener_->start();
        if (!started) GTEST_SKIP() << "no IPv6 here: " << to_string(started.error());
        port_ = listener_->local_endpoints()[0].port;
    }
    void TearDown() override {
        listener_.reset();
        test::run_ready(events_);
        EXPECT_TRUE(service_.open_sessions.empty());
        EXPECT_EQ(authenticator_.alive, 0);
    }
    std::string ask(Client& client, std::uint32_t sequence, const std::string& data) {
        client.say(sequence, data);
        std::optional<std::string> reply;
        EXPECT_TRUE(run_until(events_, [&] { return (reply = client.hear()).has_value(); }));
        return reply.value_or("nothing");
    }
    void log_in(Client& client) {
        EXPECT_TRUE(ask(client, 1, "VERSION=2.0.0\r\n").starts_with("CAPABILITY "));
        EXPECT_EQ(ask(client, 2, "AUTHENTICATE ANONYMOUS\r\n"), "200 Success\r\n");
    }

    asio::io_context events_;
    RealClock clock_;
    FakeAuthenticator authenticator_{events_};
    FakeService service_;
    fake::NoRelay relay_;
    UdpListenerConfig config_;
    bool is_willing_ = true;
    std::unique_ptr<UdpListener> listener_;
    std::uint16_t port_ = 0;
    using Words = std::vector<std::string>;
};

TEST_F(UdpListenerTest, OneDialogueFromVersionToAccept) {
    start();
    Client peer(events_, "::1", port_);
    log_in(peer);
    EXPECT_NE(ask(peer, 3, framed(create_xml)).find("</tunnel>"), std::string::npos);
    EXPECT_NE(ask(peer, 3, framed(create_xml)).find("</tunnel>"), std::string::npos);
    EXPECT_EQ(ask(peer, 4, framed(accept_xml)), "");
    EXPECT_EQ(ask(peer, 4, framed(accept_xml)), "");
    EXPECT_EQ(service_.log, (Words{"authenticated 1 ", "request 1 create", "accept 1"}));
    ASSERT_EQ(service_.peers.size(), 1u);
    EXPECT_EQ(service_.peers[0].port, peer.socket().local_endpoint().port());
}

// A connected socket hears nothing from another address: each of these is one of the host's.
TEST_F(UdpListenerTest, RepliesComeFromTheAddressThatWasAskedInBothFamilies) {
    start();
    for (const char* address : {"::1", "127.0.0.1", "127.0.0.2", "127.1.2.3"}) {
        Client peer(events_, address, port_);
        EXPECT_TRUE(ask(peer, 1, "VERSION=2.0.0\r\n").starts_with("CAPABILITY ")) << address;
    }
    ASSERT_EQ(service_.peers.size(), 4u);
    EXPECT_EQ(to_string(service_.peers[1].address), "127.0.0.1") << "not ::ffff:127.0.0.1";
}

TEST_F(UdpListenerTest, BothFamiliesCanBeListedSideBySide) {
    start();
    const std::uint16_t port = port_;
    listener_.reset();
    config_.listen = {{Ipv6Address(), port}, {Ipv4Address(), port}};
    start();
    for (const char* address : {"::1", "127.0.0.1", "127.0.0.2"}) {
        Client peer(events_, address, port);
        EXPECT_TRUE(ask(peer, 1, "VERSION=2.0.0\r\n").starts_with("CAPABILITY ")) << address;
    }
}

TEST_F(UdpListenerTest, EchoRequestIsAnsweredByWhetherTunnelsCanBeHad) {
    is_willing_ = false;
    start();
    Client peer(events_, "::1", port_);
    EXPECT_TRUE(ask(peer, 1, "ECHO REQUEST").starts_with("530 "));
    is_willing_ = true;
    EXPECT_TRUE(run_until(
        events_, [&] { return ask(peer, 1, "ECHO REQUEST").starts_with("200 "); }, 10s));
    EXPECT_TRUE(service_.peers.empty());
}

TEST_F(UdpListenerTest, AnAnswerThatComesAfterTheDialogueIsGoneIsNotSent) {
    start();
    service_.at_once = false;
    Client peer(events_, "::1", port_);
    log_in(peer);
    peer.say(3, framed(create_xml));
    ASSERT_TRUE(run_until(events_, [&] { return !service_.answers.empty(); }));
    const auto late = service_.answers.begin()->second;
    EXPECT_TRUE(ask(peer, 100, "VERSION=2.0.0\r\n").starts_with("CAPABILITY "));
    EXPECT_EQ(service_.open_sessions.size(), 1u) << "the new one";
    late(FakeService::good());
    test::run_ready(events_);
    EXPECT_FALSE(peer.hear());
}

TEST_F(UdpListenerTest, ItsEndClosesEveryDialogueAlsoInTheMiddleOfWork) {
    start();
    service_.at_once = false;
    Client peer(events_, "::1", port_);
    log_in(peer);
    peer.say(3, framed(create_xml));
    ASSERT_TRUE(run_until(events_, [&] { return !service_.answers.empty(); }));
    const auto late = service_.answers.begin()->second;
    listener_.reset();
    EXPECT_TRUE(service_.open_sessions.empty());
    late(FakeService::good());
}

TEST_F(UdpListenerTest, AnAddressThatCannotBeListenedOnIsNamed) {
    config_.listen = {{*Ipv6Address::parse("2001:db8::dead"), 3653}};
    UdpListener listener(config_, events_, clock_, authenticator_, service_, relay_,
                         [] { return true; });
    const auto started = listener.start();
    ASSERT_FALSE(started.has_value());
    EXPECT_NE(started.error().context.find("[2001:db8::dead]:3653"), std::string::npos);
}

TEST_F(UdpListenerTest, RandomDatagramsHarmNobody) {
    start();
    Client noise(events_, "::1", port_);
    std::uint32_t state = 1;
    for (int i = 0; i < 3000; ++i) {
        std::string bytes;
        state = state * 1664525 + 1013904223;
        for (std::uint32_t n = state >> 22; n > 0; --n) {
            state = state * 1664525 + 1013904223;
            bytes += static_cast<char>(state >> 24);
        }
        if (i % 2 == 0 && !bytes.empty()) bytes[0] = static_cast<char>(0xf0 | (bytes[0] & 0x0f));
        ErrorCodeOfAsio ignored;
        noise.socket().send(asio::buffer(bytes), 0, ignored);
        test::run_ready(events_);
    }
    Client peer(events_, "::1", port_);
    log_in(peer);
    EXPECT_EQ(listener_->status().exchanges, 1u);
    EXPECT_GT(listener_->status().counters.not_signalling, 1000u);
}

}  // namespace
}  // namespace dstm::server::net
