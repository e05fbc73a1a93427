// The TCP side over loopback, with a real tsp::ServerSession, an authenticator and a tunnel service
// in memory, and clients that say what the test tells them to.
#include "dstm-server/net/tsp_server.hpp"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "dstm-server/net/session_quota.hpp"
#include "event_loop.hpp"
#include "fake_edges.hpp"

namespace dstm::server::net {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using fake::FakeAuthenticator;
using fake::FakeService;
using test::run_until;
using Tcp = asio::ip::tcp;

class Client {
public:
    Client(asio::io_context& events, const Tcp::endpoint& server) : socket_(events) {
        socket_.connect(server);
        socket_.non_blocking(true);
    }
    // False when the peer does not take it all.
    bool say(std::string_view bytes) {
        ErrorCodeOfAsio error;
        return socket_.write_some(asio::buffer(bytes), error) == bytes.size();
    }
    void half_close() { socket_.shutdown(Tcp::socket::shutdown_send); }
    void reset() {
        socket_.set_option(asio::socket_base::linger(true, 0));
        socket_.close();
    }
    // Reads what has come; true at the orderly end.
    bool is_ended() {
        read();
        return ended_ && !broken_;
    }
    const std::string& heard() {
        read();
        return heard_;
    }
    bool has(std::string_view text) { return heard().find(text) != std::string::npos; }
    // How many bytes one read returns.
    std::string read_once() {
        std::array<char, 4096> buffer{};
        ErrorCodeOfAsio error;
        const auto size = socket_.read_some(asio::buffer(buffer), error);
        return {buffer.data(), size};
    }
    Tcp::socket& socket() { return socket_; }

private:
    void read() {
        std::array<char, 4096> buffer{};
        ErrorCodeOfAsio error;
        while (!ended_) {
            const auto size = socket_.read_some(asio::buffer(buffer), error);
            heard_.append(buffer.data(), size);
            if (error == asio::error::would_block) return;
            if (error) {
                ended_ = true;
                broken_ = error != asio::error::eof;
            }
        }
    }
    Tcp::socket socket_;
    std::string heard_;
    bool ended_ = false;
    bool broken_ = false;
};

std::size_t descriptors() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        (void)entry;
        ++count;
    }
    return count;
}

std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t found = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
    return found;
}

const std::string create_xml =
    R"(<tunnel action="create" type="v4v6"><client><address type="ipv6">::1</address></client>)"
    "</tunnel>\r\n";
const std::string accept_xml = "<tunnel action=\"accept\"></tunnel>\r\n";

std::string framed(const std::string& xml) {
    return "Content-length: " + std::to_string(xml.size()) + "\r\n" + xml;
}

class TspServerTest : public testing::Test {
protected:
    void start() {
        config_.session.tunnel_types = {tsp::RequestType::v4v6};
        if (config_.listen.empty()) config_.listen = {{Ipv6Address(), 0}};
        server_ = std::make_unique<TspServer>(config_, events_, clock_, authenticator_, service_);
        const auto started = server_->start();
        if (!started) GTEST_SKIP() << "no IPv6 here: " << to_string(started.error());
        port_ = server_->local_endpoints()[0].port;
    }
    void TearDown() override {
        server_.reset();
        test::run_ready(events_);
        EXPECT_TRUE(service_.open_sessions.empty());
        EXPECT_EQ(authenticator_.alive, 0);
    }
    Client client(const char* address = "::1") {
        return {events_, Tcp::endpoint(asio::ip::make_address(address), port_)};
    }
    bool heard(Client& client, std::string_view text) {
        return run_until(events_, [&] { return client.has(text); });
    }
    bool ended(Client& client) {
        return run_until(events_, [&] { return client.is_ended(); });
    }
    void log_in(Client& client) {
        client.say("VERSION=2.0.0\r\n");
        ASSERT_TRUE(heard(client, "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS AUTH=PLAIN\r\n"));
        client.say("AUTHENTICATE ANONYMOUS\r\n");
        ASSERT_TRUE(heard(client, "200 "));
    }

    // As much as goes out at once of requests whose answers nobody reads.
    static void ask_much(Client& client) {
        static const std::string request =
            framed("<tunnel action=\"info\" type=\"v4v6\"></tunnel>\r\n");
        for (int i = 0; i < 1000 && client.say(request); ++i) {}
    }

    asio::io_context events_;
    RealClock clock_;
    FakeAuthenticator authenticator_{events_};
    FakeService service_;
    TspServerConfig config_;
    std::unique_ptr<TspServer> server_;
    std::uint16_t port_ = 0;
    using Words = std::vector<std::string>;
};

TEST_F(TspServerTest, OneDialogueFromVersionToAccept) {
    start();
    Client peer = client();
    log_in(peer);
    peer.say(framed(create_xml));
    ASSERT_TRUE(heard(peer, "</tunnel>"));
    peer.say(framed(accept_xml));
    ASSERT_TRUE(run_until(events_, [&] { return service_.log.size() == 3; }));
    EXPECT_EQ(service_.log, (Words{"authenticated 1 ", "request 1 create", "accept 1"}));
    peer.half_close();
    EXPECT_TRUE(ended(peer));
    EXPECT_TRUE(service_.open_sessions.empty());
}

TEST_F(TspServerTest, EachReplyArrivesInOnePiece) {
    start();
    Client peer = client();
    peer.say("VERSION=2.0.0\r\n");
    std::string first;
    ASSERT_TRUE(run_until(events_, [&] { return !(first = peer.read_once()).empty(); }));
    EXPECT_TRUE(first.ends_with("\r\n"));
}

TEST_F(TspServerTest, Ipv4ClientsAreKnownByTheirOwnAddress) {
    start();
    Client v4 = client("127.0.0.1");
    Client v6 = client("::1");
    log_in(v4);
    log_in(v6);
    ASSERT_EQ(service_.peers.size(), 2u);
    EXPECT_EQ(to_string(service_.peers[0].address), "127.0.0.1");
    EXPECT_EQ(to_string(service_.peers[1].address), "::1");
    EXPECT_EQ(service_.peers[1].port, v6.socket().local_endpoint().port());
}

TEST_F(TspServerTest, AViolationIsAnsweredOnceLoggedOnceAndEndsTheConnection) {
    start();
    for (const std::string& bytes :
         {std::string("HELLO\r\n"), std::string(10000, 'V'), std::string("\x16\x03\x01\r\n")}) {
        testing::internal::CaptureStderr();
        Client peer = client();
        peer.say(bytes);
        EXPECT_TRUE(ended(peer));
        EXPECT_TRUE(peer.heard().starts_with("500 ")) << peer.heard();
        EXPECT_TRUE(peer.heard().ends_with("\r\n"));
        const std::string log = testing::internal::GetCapturedStderr();
        EXPECT_EQ(count_of(log, "TSP_VIOLATION peer=[::1]:"), 1u) << log;
    }
}

// The reply must not be overtaken by the reset that unread input would cause.
TEST_F(TspServerTest, TheLastWordsArriveAlthoughThePeerWentOnTalking) {
    start();
    for (int i = 0; i < 50; ++i) {
        Client peer = client();
        peer.say("HELLO\r\n" + std::string(20000, 'x'));
        ASSERT_TRUE(ended(peer));
        EXPECT_TRUE(peer.heard().starts_with("500 "));
    }
}

TEST_F(TspServerTest, AHalfClosedPeerStillGetsItsAnswer) {
    start();
    service_.at_once = false;
    Client peer = client();
    log_in(peer);
    peer.say(framed(create_xml));
    peer.half_close();
    ASSERT_TRUE(run_until(events_, [&] { return !service_.answers.empty(); }));
    EXPECT_FALSE(run_until(events_, [&] { return service_.open_sessions.empty(); }, 50ms));
    service_.answers.begin()->second(FakeService::good());
    EXPECT_TRUE(ended(peer));
    EXPECT_TRUE(peer.has("</tunnel>"));
    EXPECT_TRUE(service_.open_sessions.empty());
}

TEST_F(TspServerTest, APeerThatGoesInTheMiddleOfARequestIsForgotten) {
    start();
    service_.at_once = false;
    Client peer = client();
    log_in(peer);
    peer.say(framed(create_xml));
    ASSERT_TRUE(run_until(events_, [&] { return !service_.answers.empty(); }));
    const auto late = service_.answers.begin()->second;
    peer.reset();
    ASSERT_TRUE(run_until(events_, [&] { return service_.open_sessions.empty(); }));
    EXPECT_EQ(server_->sessions(), 0u);
    late(FakeService::good());
    test::run_ready(events_);
}

TEST_F(TspServerTest, APeerThatGoesInTheMiddleOfAnAuthenticationIsForgotten) {
    start();
    Client peer = client();
    peer.say("VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n");
    peer.say(std::string_view("\0alice\0secret\r\n", 15));
    ASSERT_TRUE(run_until(events_, [&] { return authenticator_.waiting != nullptr; }));
    peer.reset();
    ASSERT_TRUE(run_until(events_, [&] { return service_.open_sessions.empty(); }));
    EXPECT_EQ(authenticator_.alive, 0);
    authenticator_.waiting({AuthenticationStep::Outcome::success, "", "alice"});
    test::run_ready(events_);
    EXPECT_TRUE(service_.log.empty());
}

TEST_F(TspServerTest, TheUserIsKnownToTheServiceBeforeItsFirstRequest) {
    start();
    Client peer = client();
    peer.say("VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n");
    peer.say(std::string_view("\0alice\0secret\r\n", 15));
    ASSERT_TRUE(run_until(events_, [&] { return authenticator_.waiting != nullptr; }));
    authenticator_.waiting({AuthenticationStep::Outcome::success, "", "alice"});
    ASSERT_TRUE(heard(peer, "200 "));
    peer.say(framed(create_xml));
    ASSERT_TRUE(heard(peer, "</tunnel>"));
    EXPECT_EQ(service_.log, (Words{"authenticated 1 alice", "request 1 create"}));
}

TEST_F(TspServerTest, FailedAuthenticationIs300AndTheEnd) {
    start();
    Client peer = client();
    peer.say("VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n");
    peer.say(std::string_view("\0alice\0wrong\r\n", 14));
    ASSERT_TRUE(run_until(events_, [&] { return authenticator_.waiting != nullptr; }));
    authenticator_.waiting({AuthenticationStep::Outcome::failure, "", ""});
    EXPECT_TRUE(ended(peer));
    EXPECT_TRUE(peer.has("\r\n300 "));
    EXPECT_EQ(authenticator_.alive, 0);
}

TEST_F(TspServerTest, ASilentPeerIsClosedWhenItsTimeIsOver) {
    config_.session.limits.phase_timeout = 30ms;
    start();
    Client silent = client();
    Client stalled = client();
    stalled.say("VERS");
    EXPECT_TRUE(ended(silent));
    EXPECT_TRUE(ended(stalled));
}

TEST_F(TspServerTest, OverALimitNewcomersHear530) {
    config_.sessions_max = 3;
    config_.sessions_per_address_max = 2;
    start();
    Client first = client();
    Client second = client();
    log_in(first);
    log_in(second);
    Client third = client();
    third.say("VERSION=2.0.0\r\n");
    EXPECT_TRUE(ended(third));
    EXPECT_EQ(third.heard(), "530 Server too busy\r\n");

    Client other = client("127.0.0.1");
    log_in(other);
    Client one_too_many = client("127.0.0.1");
    EXPECT_TRUE(ended(one_too_many));
    EXPECT_EQ(one_too_many.heard(), "530 Server too busy\r\n");

    first.half_close();
    EXPECT_TRUE(ended(first));
    ASSERT_TRUE(run_until(events_, [&] { return server_->sessions() == 2; }));
    Client again = client();
    log_in(again);
}

TEST_F(TspServerTest, OverTheTriesOfItsAddressAPeerHears530AndOthersDoNot) {
    config_.tries.per_address = 1;  // and 5 at once
    start();
    const int accepted_max = 6;  // one more if a second passes
    int refused = 0;
    for (int i = 0; i < 20; ++i) {
        Client peer = client();
        peer.say("VERSION=2.0.0\r\n");
        ASSERT_TRUE(run_until(events_, [&] { return peer.heard().ends_with("\r\n"); }));
        refused += peer.heard() == "530 Server too busy\r\n" ? 1 : 0;
    }
    EXPECT_GE(refused, 20 - accepted_max);
    EXPECT_EQ(server_->throttled().by_address, static_cast<std::uint64_t>(refused));
    Client other = client("127.0.0.1");
    other.say("VERSION=2.0.0\r\n");
    EXPECT_TRUE(heard(other, "CAPABILITY "));
}

// A connection, an authentication and each request are a try.
TEST_F(TspServerTest, TooManyRequestsOfAUserEndTheConnectionWith530) {
    config_.tries.per_user = 1;
    start();
    Client peer = client();
    peer.say("VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n\0alice\0x\r\n"s);
    ASSERT_TRUE(run_until(events_, [&] { return authenticator_.waiting != nullptr; }));
    authenticator_.waiting({AuthenticationStep::Outcome::success, "", "alice"});
    ASSERT_TRUE(heard(peer, "200 "));
    service_.at_once = true;
    for (std::size_t i = 1; i <= 20 && !peer.is_ended(); ++i) {
        peer.say(framed("<tunnel action=\"info\" type=\"v4v6\"></tunnel>\r\n"));
        ASSERT_TRUE(run_until(events_, [&] {
            return count_of(peer.heard(), "Content-length: ") == i || peer.is_ended();
        }));
    }
    EXPECT_TRUE(ended(peer));
    EXPECT_TRUE(peer.has("Content-length: 21\r\n530 Server too busy\r\n"));
    EXPECT_EQ(server_->throttled().by_user, 1u);
    EXPECT_LE(count_of(peer.heard(), "200 "), 1u + 6u);
}

TEST_F(TspServerTest, TooManyAuthenticationsAre530AndNobodyIsAsked) {
    config_.tries.per_address = 1;
    start();
    int started = 0;
    std::vector<Client> peers;
    for (int i = 0; i < 5; ++i) peers.push_back(client());
    for (Client& peer : peers) {
        peer.say("VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n");
        ASSERT_TRUE(run_until(events_, [&] { return peer.has("200 ") || peer.has("530 "); }));
        started += peer.has("200 ") ? 1 : 0;
    }
    EXPECT_EQ(authenticator_.started, started);
    EXPECT_LE(started, 1) << "the connections have used the tries up";
}

TEST_F(TspServerTest, WhoIsRefusedIsToldOtherBrokersIfThereAreAny) {
    config_.sessions_max = 1;
    config_.session.redirect.brokers = {{{{tsp::AddressType::ipv6, "2001:db8::9", {}}}}};
    start();
    Client first = client();
    first.say("VERSION=2.0.0\r\n");
    ASSERT_TRUE(heard(first, "CAPABILITY "));
    Client second = client();
    EXPECT_TRUE(ended(second));
    EXPECT_TRUE(second.heard().starts_with("1530 Server too busy\r\n<tunnel action=\"list\""));
    EXPECT_TRUE(second.has("<address type=\"ipv6\">2001:db8::9</address>"));
}

TEST_F(TspServerTest, APeerThatDoesNotReadIsCutOff) {
    config_.output_size_max = 16 * 1024;
    config_.session.limits.commands_max = 1'000'000;
    start();
    Client peer = client();
    log_in(peer);
    EXPECT_TRUE(run_until(events_, [&] {
        ask_much(peer);
        return service_.open_sessions.empty();
    }));
    EXPECT_EQ(server_->sessions(), 0u);
}

TEST_F(TspServerTest, APeerThatTakesTooLongToReadIsCutOff) {
    config_.write_timeout = 50ms;
    config_.output_size_max = 1 << 30;
    config_.session.limits.commands_max = 1'000'000'000;
    start();
    Client peer = client();
    log_in(peer);
    EXPECT_TRUE(run_until(events_, [&] {
        ask_much(peer);
        return service_.open_sessions.empty();
    }));
}

TEST_F(TspServerTest, AThousandQuickConnectionsLeaveNothingBehind) {
    config_.sessions_per_address_max = 100'000;
    start();
    { Client warm_up = client(); log_in(warm_up); }
    ASSERT_TRUE(run_until(events_, [&] { return server_->sessions() == 0; }));
    const std::size_t before = descriptors();
    for (int i = 0; i < 1000; ++i) {
        Client peer = client();
        switch (i % 4) {
            case 0: break;
            case 1: peer.say("VERSION=2.0.0\r\n"); break;
            case 2: peer.say("HELLO\r\n"); break;
            case 3: peer.reset(); break;
        }
        test::run_ready(events_);
    }
    EXPECT_TRUE(run_until(events_, [&] {
        return server_->sessions() == 0 && descriptors() <= before;
    }));
    EXPECT_TRUE(service_.open_sessions.empty());
}

TEST_F(TspServerTest, ItsEndClosesEveryDialogue) {
    start();
    Client peer = client();
    log_in(peer);
    Client other = client();
    other.say("VERSION=2.0.0\r\n");
    ASSERT_TRUE(heard(other, "CAPABILITY"));
    server_.reset();
    EXPECT_TRUE(service_.open_sessions.empty());
    test::run_ready(events_);
}

TEST_F(TspServerTest, AnAddressThatCannotBeListenedOnIsNamed) {
    config_.listen = {{*Ipv6Address::parse("2001:db8::dead"), 3653}};
    TspServer server(config_, events_, clock_, authenticator_, service_);
    const auto started = server.start();
    ASSERT_FALSE(started.has_value());
    EXPECT_NE(started.error().context.find("[2001:db8::dead]:3653"), std::string::npos);
}

TEST_F(TspServerTest, BothFamiliesCanBeListedSideBySide) {
    config_.listen = {{Ipv6Address(), 0}};
    start();
    const std::uint16_t port = port_;
    server_.reset();
    config_.listen = {{Ipv6Address(), port}, {Ipv4Address(), port}};
    start();
    EXPECT_EQ(server_->local_endpoints().size(), 2u);
    Client v4 = client("127.0.0.1");
    log_in(v4);
}

TEST(SessionQuotaTest, CountsInAllAndByAddress) {
    const IpAddress a = Ipv4Address(1);
    const IpAddress b = Ipv4Address(2);
    SessionQuota quota(3, 2);
    EXPECT_TRUE(quota.take(a));
    EXPECT_TRUE(quota.take(a));
    EXPECT_FALSE(quota.take(a));
    EXPECT_TRUE(quota.take(b));
    EXPECT_FALSE(quota.take(b));
    quota.give_back(a);
    EXPECT_TRUE(quota.take(b));
    EXPECT_EQ(quota.total(), 3u);
    quota.set_limits(1, 1);
    quota.give_back(b);
    EXPECT_FALSE(quota.take(a));
}

}  // namespace
}  // namespace dstm::server::net
