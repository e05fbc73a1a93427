// One server with many addresses: whichever serves is found, by each transport, and no look-up
// keeps anybody waiting. Names come from a hosts file in a mount namespace (root), addresses from
// 127/8.
#include "client/net/server_addresses.hpp"

#include <fstream>
#include <sstream>

#include "client/net/signalling.hpp"
#include "common/io/real_clock.hpp"
#include "network_namespace.hpp"
#include "scripted_server.hpp"
#include "temporary_directory.hpp"
#include "udp_script.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

asio::ip::address at(const char* text) { return asio::ip::make_address(text); }
IpAddress ip(const char* text) { return *parse_ip_address(text); }

TEST(ClientServerAddresses, KnownOneIsFirstAndEachIsTakenOnce) {
    ServerAddresses list({"dstm.example", 3653}, Family::ipv6, 3);
    EXPECT_TRUE(list.has_more());
    list.begin_with(ip("2001:db8::9"));
    EXPECT_EQ(list.take(), at("2001:db8::9"));
    EXPECT_FALSE(list.take());
    EXPECT_TRUE(list.has_more()) << "the look-up may bring some";
    bool was_told = false;
    list.wait([&] { was_told = true; });
    list.found(std::vector{at("2001:db8::1"), at("192.0.2.1"), at("2001:db8::9"),
                           at("2001:db8::2"), at("2001:db8::3")});
    EXPECT_TRUE(was_told);
    EXPECT_EQ(list.take(), at("2001:db8::1"));
    EXPECT_EQ(list.take(), at("2001:db8::2"));
    EXPECT_FALSE(list.take()) << "three at most, of its family";
    EXPECT_FALSE(list.has_more());
    EXPECT_FALSE(list.has_lost(at("2001:db8::9")));
    EXPECT_TRUE(list.has_lost(at("2001:db8::8")));
    list.give_back(at("2001:db8::1"));
    EXPECT_EQ(list.take(), at("2001:db8::1"));
    list.start_over();
    EXPECT_EQ(list.take(), at("2001:db8::9"));
}

TEST(ClientServerAddresses, FailedLookUpLosesNoAddressAndIsSaid) {
    ServerAddresses list({"dstm.example", 3653}, Family::ipv6, 3);
    list.begin_with(ip("2001:db8::9"));
    list.found(fail(ErrorCode::unavailable, "dstm.example: not now"));
    EXPECT_FALSE(list.has_lost(at("2001:db8::9")));
    EXPECT_EQ(list.trouble(), "dstm.example: not now");
    EXPECT_EQ(list.take(), at("2001:db8::9"));
}

TEST(ClientServerAddresses, AddressNeedsNoLookUp) {
    EXPECT_TRUE(ServerAddresses({"dstm.example", 1}, Family::ipv6, 3).needs_look_up());
    ServerAddresses list({"2001:db8::1", 1}, Family::ipv6, 3);
    EXPECT_FALSE(list.needs_look_up());
    EXPECT_EQ(list.take(), at("2001:db8::1"));
    EXPECT_FALSE(ServerAddresses({"192.0.2.1", 1}, Family::ipv6, 3).has_more());
}

std::vector<Step> good_script() {
    return {{"VERSION=2.0.0\r\n", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"},
            {"AUTHENTICATE ANONYMOUS", "200 Success\r\n"},
            {"</tunnel>", info}};
}

class ClientAddresses : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root for a mount namespace";
        config.type = tsp::RequestType::v6v4;
    }
    // On a thread with files of its own; what is still waited for goes with it.
    void on_thread(const std::function<void()>& body) {
        std::thread([&] {
            context_.emplace();
            body();
            signalling.reset();
            dns.reset();
            context_.reset();
        }).join();
    }
    // The addresses are all of the same name.
    void on_host(const std::string& addresses, const std::function<void()>& body) {
        on_thread([&] {
            std::string hosts;
            std::istringstream list(addresses);
            for (std::string one; list >> one;) hosts += one + " dstm.example\n";
            replace_file(write("hosts", hosts), "/etc/hosts");
            body();
        });
    }
    asio::io_context& context() { return *context_; }
    // Questions go to where nobody ever answers.
    void silence_the_dns(const std::string& options = {}) {
        replace_file(write("resolv.conf", "nameserver 127.1.1.53\n" + options),
                     "/etc/resolv.conf");
        dns.emplace(context(), asio::ip::udp::endpoint(at("127.1.1.53"), 53));
    }
    std::string write(const char* name, const std::string& text) {
        const auto path = directory_.path() + '/' + name;
        std::ofstream(path) << text;
        return path;
    }
    // As the engine does it: on to the next address, create, accept.
    void connect(std::uint16_t port, Transport transport) {
        config.transport = transport;
        config.mechanisms = {"ANONYMOUS"};
        config.connect_timeout = 2s;
        config.greeting_timeout = 300ms;
        config.udp.waits = {100ms, 100ms, 100ms, 100ms};
        config.remember = [this](const GoodServer& good) { remembered.push_back(good); };
        signalling = make_signalling(context(), clock, config, [this](const Event& event) {
            tsp::TunnelMessage message;
            message.type = config.type;
            if (const auto* opened = std::get_if<SessionOpened>(&event)) {
                peer = opened->peer.address;
                message.client.emplace();
                signalling->send(message);
            } else if (std::holds_alternative<Answered>(event)) {
                message.action = tsp::Action::accept;
                signalling->send(message);
            } else if (const auto* failure = std::get_if<SessionFailed>(&event)) {
                failures.push_back(*failure);
                if (failure->has_others) signalling->connect_elsewhere();
            }
        });
        signalling->connect({"dstm.example", port});
    }
    bool reached(const std::function<bool()>& predicate) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!predicate()) {
            if (std::chrono::steady_clock::now() > end) return false;
            context().restart();
            context().run_one_for(20ms);
        }
        return true;
    }

    TemporaryDirectory directory_;
    std::optional<asio::io_context> context_;
    RealClock clock;
    SignallingConfig config;
    std::optional<asio::ip::udp::socket> dns;
    std::vector<GoodServer> remembered;
    std::vector<SessionFailed> failures;
    std::optional<IpAddress> peer;
    std::unique_ptr<Signalling> signalling;
};

TEST_F(ClientAddresses, WhateverIsWrongAtOneTheNextIsAsked) {
    const std::vector<std::pair<std::string, std::string>> wrong{
        {"closes", ""}, {"is silent", ""}, {"is busy", "530 Server too busy\r\n"},
        {"has an error", "310 Server error\r\n"}, {"talks of other things", "HELLO\r\n"}};
    for (const auto& [what, reply] : wrong) {
        on_host("127.0.0.2 127.0.0.3", [&, what = what, reply = reply] {
            failures.clear();
            ScriptedServer bad(context(), {{"VERSION", reply}}, at("127.0.0.2"));
            if (what == "closes") bad.close_at = 0;
            ScriptedServer good(context(), good_script(), at("127.0.0.3"), bad.port());
            connect(bad.port(), Transport::tcp);
            EXPECT_TRUE(reached([&] { return good.received.ends_with("</tunnel>\r\n"); })) << what;
            EXPECT_EQ(bad.accepted, 1U) << what;
            EXPECT_EQ(failures.size(), 1U) << what << ' ' << failures.back().text << ' '
                                           << good.accepted << ' ' << good.received;
        });
    }
}

TEST_F(ClientAddresses, RefusalThatIsTheSameEverywhereIsTaken) {
    for (const char* refusal : {"300 Authentication failed\r\n", "301 No more tunnels\r\n",
                                "302 Unsupported client version\r\n"}) {
        on_host("127.0.0.2 127.0.0.3", [&] {
            failures.clear();
            ScriptedServer bad(context(), {{"VERSION", refusal}}, at("127.0.0.2"));
            ScriptedServer good(context(), good_script(), at("127.0.0.3"), bad.port());
            connect(bad.port(), Transport::tcp);
            ASSERT_TRUE(reached([&] { return !failures.empty(); }));
            EXPECT_EQ(failures[0].cause, SessionFailed::Cause::refused);
            EXPECT_FALSE(failures[0].has_others) << refusal;
        });
    }
}

TEST_F(ClientAddresses, NextIsAskedByUdpToo) {
    for (const bool is_silent : {true, false}) {
        on_host("127.0.0.2 127.0.0.3 127.0.0.4", [&] {
            failures.clear();
            UdpScript good(context(), at("127.0.0.4"));
            std::optional<UdpScript> silent;
            if (is_silent) silent.emplace(context(), at("127.0.0.2"), good.port());
            if (silent) silent->is_silent = true;
            connect(good.port(), Transport::udp);
            EXPECT_TRUE(reached([&] { return good.count("accept") > 0; }));
            EXPECT_EQ(failures.size(), 2U) << "of which the engine may say something";
            EXPECT_EQ(peer, ip("127.0.0.4"));
        });
    }
}

TEST_F(ClientAddresses, WhoeverLostTheRaceIsAskedWhenTheWinnerFails) {
    on_host("127.0.0.2 127.0.0.3", [&] {
        // The first takes no connection for a while: its queue is full.
        asio::ip::tcp::acceptor slow(context());
        slow.open(asio::ip::tcp::v4());
        slow.bind({at("127.0.0.2"), 0});
        slow.listen(0);
        const auto port = slow.local_endpoint().port();
        asio::ip::tcp::socket filler(context());
        filler.connect({at("127.0.0.2"), port});
        ScriptedServer hasty(context(), {}, at("127.0.0.3"), port);
        hasty.close_at = 0;
        connect(port, Transport::tcp);
        ASSERT_TRUE(reached([&] { return hasty.accepted == 1; }));
        asio::ip::tcp::socket first(context());
        asio::ip::tcp::socket second(context());
        slow.accept(first);
        bool was_asked = false;
        slow.async_accept(second, [&](const ErrorCodeOfAsio& error) { was_asked = !error; });
        EXPECT_TRUE(reached([&] { return was_asked; }));
    });
}

// N9, N10: signalling runs over what the tunnel runs over, whatever else the name has.
TEST_F(ClientAddresses, FamilyIsTheTunnels) {
    for (const auto type : {tsp::RequestType::v4v6, tsp::RequestType::v6v4}) {
        on_host("::1 127.0.0.2", [&] {
            const bool is_v6 = type == tsp::RequestType::v4v6;
            ScriptedServer v6(context(), good_script());
            ScriptedServer v4(context(), good_script(), at("127.0.0.2"), v6.port());
            config.type = type;
            peer.reset();
            connect(v6.port(), Transport::tcp);
            ASSERT_TRUE(reached([&] { return peer.has_value(); }));
            EXPECT_EQ(peer, ip(is_v6 ? "::1" : "127.0.0.2"));
            EXPECT_EQ(v6.accepted + v4.accepted, 1U);
        });
    }
}

TEST_F(ClientAddresses, LastGoodOneServesWhileTheDnsIsSilentAndNobodyWaitsForItAtTheEnd) {
    on_thread([&] {
        silence_the_dns();
        ScriptedServer server(context(), good_script(), at("127.0.0.1"));
        config.last_good = GoodServer{{"dstm.example", server.port()}, ip("127.0.0.1")};
        const auto begin = std::chrono::steady_clock::now();
        connect(server.port(), Transport::tcp);
        EXPECT_TRUE(reached([&] { return server.received.ends_with("</tunnel>\r\n"); }));
        signalling->connect({"other.example", server.port()});
        ASSERT_TRUE(reached([&] { return dns->available() > 0; }));
        signalling.reset();
        EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
    });
}

// Cyrus SASL asks for the host's own name. That is done in advance.
TEST_F(ClientAddresses, RenewalDoesNotWaitUntilTheDnsKnowsThisHost) {
    on_host("127.0.0.2", [&] {
        ASSERT_EQ(unshare(CLONE_NEWUTS), 0);
        ASSERT_EQ(sethostname("nobody", 6), 0);
        silence_the_dns("options timeout:1 attempts:1\n");
        ScriptedServer first(context(), good_script(), at("127.0.0.2"));
        connect(first.port(), Transport::tcp);
        ASSERT_TRUE(reached([&] { return first.received.find("accept") != std::string::npos; }));
        int asked = 0;  // for A and AAAA, each time
        ASSERT_TRUE(reached([&] {
            std::array<char, 512> question{};
            if (dns->available() > 0) {
                dns->receive(asio::buffer(question));
                ++asked;
            }
            return asked == 4;
        })) << "once for this dialogue, once in advance";
        context().restart();
        context().run_for(1500ms);  // one second until the library gives up
        ScriptedServer second(context(), good_script(), at("127.0.0.2"));
        const auto begin = std::chrono::steady_clock::now();
        signalling->connect({"dstm.example", second.port()});
        EXPECT_TRUE(reached([&] { return second.received.ends_with("</tunnel>\r\n"); }));
        EXPECT_LT(std::chrono::steady_clock::now() - begin, 700ms);
    });
}

TEST_F(ClientAddresses, AddressThatTheDnsKnowsNoLongerIsNotKept) {
    on_host("127.0.0.2", [&] {
        ScriptedServer old(context(), good_script(), at("127.0.0.1"));
        const Target server{"dstm.example", old.port()};
        config.last_good = GoodServer{server, ip("127.0.0.1")};
        connect(old.port(), Transport::tcp);
        ASSERT_TRUE(reached([&] { return old.received.ends_with("</tunnel>\r\n"); }));
        ASSERT_TRUE(reached([&] { return !remembered.empty(); }));
        EXPECT_EQ(remembered, (std::vector<GoodServer>{{server, std::nullopt}}));
        ScriptedServer fresh(context(), good_script(), at("127.0.0.2"), old.port());
        signalling->connect(server);
        ASSERT_TRUE(reached([&] { return remembered.size() == 2; }))
            << fresh.accepted << fresh.received << (failures.empty() ? "" : failures.back().text);
        EXPECT_EQ(remembered.back(), (GoodServer{server, ip("127.0.0.2")}));
    });
}

}  // namespace
}  // namespace dstm::client
