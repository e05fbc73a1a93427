// The server's side of the endpoint link against the real endpoint: LinkRegistry and Control in one
// process, a data plane in memory, a UNIX socket or TLS between them.
#include "dstm-server/tep/link_registry.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "dstm-server/admin/pki.hpp"
#include "support/endpoint_daemon.hpp"
#include "support/endpoint_values.hpp"
#include "support/event_loop.hpp"
#include "support/memory_plane.hpp"
#include "support/temp_dir.hpp"
#include "tep/admin.hpp"

namespace dstm::server {
namespace {

using test::run_until;
using test::Endpoint;
using test::endpoint_config;
using test::tunnel;

class RecordingListener final : public EndpointListener {
public:
    void on_endpoint_up(const EndpointInfo& info) override { up.push_back(info); }
    void on_endpoint_gone(const std::string& name) override { gone.push_back(name); }
    void on_tunnels_idle(const std::string&, const std::vector<IpAddress>& inner) override {
        idle.insert(idle.end(), inner.begin(), inner.end());
    }
    std::vector<EndpointInfo> up;
    std::vector<std::string> gone;
    std::vector<IpAddress> idle;
};

// Ends an hour from now, by the real clock that both sides use here.
TunnelSpec live_tunnel(const std::string& inner, Generation generation = 1) {
    auto spec = tunnel(inner, generation);
    spec.expires_at = RealClock().wall() + std::chrono::hours(1);
    return spec;
}

class LinkRegistryTest : public testing::Test {
protected:
    LinkRegistryTest() { start_server(); }

    void start_server(Duration call_wait = std::chrono::seconds(10)) {
        EndpointTimes times;
        times.call_wait = call_wait;
        times.hello_wait = std::chrono::milliseconds(200);
        registry = std::make_unique<LinkRegistry>(context, clock, "dstm1",
                                                  io::endpoint_link_options(), times);
        registry->set_listener(&listener);
        const auto listening = registry->listen_unix(path);
        EXPECT_TRUE(listening) << to_string(listening.error());
    }
    void start_endpoint() {
        endpoint = std::make_unique<Endpoint>(context, clock,
                                              endpoint_config(tep::UnixServer{path}), plane);
        ASSERT_TRUE(run_until(context, [&] { return !listener.up.empty() && endpoint->is_up(); }));
    }
    template <class T>
    Done<T> into(std::vector<Result<T>>& results) {
        return [&results](Result<T> result) { results.push_back(std::move(result)); };
    }
    void install(const TunnelSpec& spec) { registry->install("tep1", spec, into(outcomes)); }
    void wait_for(std::size_t count) {
        ASSERT_TRUE(run_until(context, [&] { return outcomes.size() == count; }));
    }

    RealClock clock;
    asio::io_context context;
    test::TempDir directory;
    std::string path = directory / "endpoints.sock";
    RecordingListener listener;
    test::MemoryPlane plane;
    std::unique_ptr<LinkRegistry> registry;
    std::unique_ptr<Endpoint> endpoint;
    std::vector<Result<void>> outcomes;
    std::vector<Result<SyncOutcome>> syncs;
};

TEST_F(LinkRegistryTest, EndpointIsKnownByWhatItSaysOfItself) {
    start_endpoint();
    ASSERT_EQ(listener.up.size(), 1u);
    EndpointInfo expected;
    expected.name = "tep1";
    expected.group = "campus";
    expected.types = {TunnelType::v4v6};
    expected.outer_ipv6 = test::endpoint_outer;
    expected.inner_ipv4 = test::endpoint_inner;
    expected.pools = {test::endpoint_pool};
    expected.data_plane = "memory";
    EXPECT_EQ(listener.up[0], expected);
    EXPECT_EQ(registry->endpoints(), std::vector{expected});
    EXPECT_EQ(endpoint->control.links().front()->server(), "dstm1");
}

TEST_F(LinkRegistryTest, InstallAndRemoveReachThePlane) {
    start_endpoint();
    install(live_tunnel("192.0.2.7", 5));
    EXPECT_TRUE(outcomes.empty());  // never from inside the call
    wait_for(1);
    EXPECT_TRUE(outcomes[0]);
    EXPECT_EQ(plane.tunnels.size(), 1u);

    registry->remove("tep1", *parse_ip_address("192.0.2.7"), 4, into(outcomes));
    wait_for(2);
    EXPECT_TRUE(outcomes[1]);  // something newer is there: no error, and it stays
    EXPECT_EQ(plane.tunnels.size(), 1u);
    registry->remove("tep1", *parse_ip_address("192.0.2.7"), 5, into(outcomes));
    wait_for(3);
    EXPECT_TRUE(outcomes[2]);
    EXPECT_TRUE(plane.tunnels.empty());
}

TEST_F(LinkRegistryTest, RefusalsComeBackWithTheirMeaning) {
    start_endpoint();
    install(live_tunnel("192.0.2.7", 5));
    wait_for(1);
    install(live_tunnel("192.0.2.7", 4));
    wait_for(2);
    EXPECT_EQ(outcomes[1].error().code, ErrorCode::conflict);
    install(live_tunnel("203.0.113.1"));
    wait_for(3);
    EXPECT_EQ(outcomes[2].error().code, ErrorCode::refused);
    plane.fail_next = Error{ErrorCode::exhausted, "full"};
    install(live_tunnel("192.0.2.8"));
    wait_for(4);
    EXPECT_EQ(outcomes[3].error(), (Error{ErrorCode::exhausted, "full"}));
}

TEST_F(LinkRegistryTest, EndpointThatIsNotThereIsUnavailable) {
    install(live_tunnel("192.0.2.7"));
    registry->remove("tep1", *parse_ip_address("192.0.2.7"), 1, into(outcomes));
    registry->sync("tep1", {}, 1, into(syncs));
    EXPECT_TRUE(outcomes.empty());
    ASSERT_TRUE(run_until(context, [&] { return outcomes.size() == 2 && syncs.size() == 1; }));
    EXPECT_EQ(outcomes[0].error().code, ErrorCode::unavailable);
    EXPECT_EQ(outcomes[1].error().code, ErrorCode::unavailable);
    EXPECT_EQ(syncs[0].error().code, ErrorCode::unavailable);
}

TEST_F(LinkRegistryTest, SyncGoesInPartsAndCounts) {
    start_endpoint();
    install(live_tunnel("192.0.2.7", 1));
    install(live_tunnel("192.0.2.8", 1));
    wait_for(2);
    // More than two messages hold. The endpoint's pool is a /24, so the tail is asked again.
    std::vector<TunnelSpec> wanted;
    for (int round = 0; round < 10; ++round) {
        for (int i = 10; i < 250; ++i)
            wanted.push_back(live_tunnel("192.0.2." + std::to_string(i)));
    }
    wanted.push_back(live_tunnel("192.0.2.7", 1));
    wanted.back().expires_at = plane.tunnels.at(wanted.back().inner).spec.expires_at;
    for (auto& spec : wanted) spec.expires_at = wanted.back().expires_at;
    registry->sync("tep1", wanted, 10, into(syncs));
    ASSERT_TRUE(run_until(context, [&] { return syncs.size() == 1; }));
    ASSERT_TRUE(syncs[0]) << to_string(syncs[0].error());
    EXPECT_EQ(syncs[0]->installed, 240u);
    EXPECT_EQ(syncs[0]->unchanged, 9u * 240 + 1);
    EXPECT_EQ(syncs[0]->removed, 1u);
    EXPECT_EQ(plane.tunnels.size(), 241u);
}

TEST_F(LinkRegistryTest, LaterSyncEndsTheOneUnderWay) {
    start_endpoint();
    std::vector<TunnelSpec> many;
    for (int i = 0; i < 1500; ++i)
        many.push_back(live_tunnel("192.0.2." + std::to_string(10 + i % 200)));
    registry->sync("tep1", many, 10, into(syncs));
    registry->sync("tep1", {live_tunnel("192.0.2.7")}, 10, into(syncs));
    ASSERT_TRUE(run_until(context, [&] { return syncs.size() == 2; }));
    EXPECT_EQ(syncs[0].error().code, ErrorCode::conflict);
    ASSERT_TRUE(syncs[1]);
    EXPECT_EQ(plane.tunnels.size(), 1u);
}

TEST_F(LinkRegistryTest, InstallThatIsUnderWayWhenTheLinkIsCutIsUnavailableOnce) {
    start_endpoint();
    install(live_tunnel("192.0.2.7"));
    install(live_tunnel("192.0.2.8"));
    registry->sync("tep1", {}, 1, into(syncs));
    endpoint.reset();  // before it has read any of it
    ASSERT_TRUE(run_until(context, [&] {
        return outcomes.size() == 2 && syncs.size() == 1 && !listener.gone.empty();
    }));
    test::run_ready(context);
    ASSERT_EQ(outcomes.size(), 2u);
    EXPECT_EQ(outcomes[0].error().code, ErrorCode::unavailable);
    EXPECT_EQ(outcomes[1].error().code, ErrorCode::unavailable);
    ASSERT_EQ(syncs.size(), 1u);
    EXPECT_EQ(syncs[0].error().code, ErrorCode::unavailable);
    EXPECT_EQ(listener.gone, std::vector<std::string>{"tep1"});
}

TEST_F(LinkRegistryTest, TunnelsStayOverALostServerAndAreSyncedWhenItIsBack) {
    start_endpoint();
    install(live_tunnel("192.0.2.7", 1));
    install(live_tunnel("192.0.2.8", 2));
    wait_for(2);
    const auto kept = plane.tunnels.at(*parse_ip_address("192.0.2.8")).spec;
    const int adds = plane.adds;

    registry.reset();
    ASSERT_TRUE(run_until(context, [&] { return !endpoint->is_up(); }));
    EXPECT_EQ(plane.tunnels.size(), 2u);
    listener.up.clear();
    start_server();
    ASSERT_TRUE(run_until(context, [&] { return !listener.up.empty(); }));
    EXPECT_EQ(listener.up[0].tunnels, 2u);
    registry->sync("tep1", {kept, live_tunnel("192.0.2.9", 3)}, 10, into(syncs));
    ASSERT_TRUE(run_until(context, [&] { return syncs.size() == 1; }));
    ASSERT_TRUE(syncs[0]);
    EXPECT_EQ(syncs[0]->installed, 1u);
    EXPECT_EQ(syncs[0]->unchanged, 1u);
    EXPECT_EQ(syncs[0]->removed, 1u);
    EXPECT_EQ(plane.adds, adds + 1);  // the one that stays was not touched
}

TEST_F(LinkRegistryTest, EndpointThatStopsSaysSoAndIsGoneAtOnce) {
    start_endpoint();
    bool stopped = false;
    endpoint->control.stop([&] { stopped = true; });
    ASSERT_TRUE(run_until(context, [&] { return stopped && !listener.gone.empty(); }));
    EXPECT_EQ(listener.gone, std::vector<std::string>{"tep1"});
    EXPECT_TRUE(registry->endpoints().empty());
}

TEST_F(LinkRegistryTest, EndpointWithoutAServerStopsToo) {
    registry.reset();
    Endpoint alone(context, clock, endpoint_config(tep::UnixServer{path}), plane);
    bool stopped = false;
    alone.control.stop([&] { stopped = true; });
    ASSERT_TRUE(run_until(context, [&] { return stopped; }));
}

TEST_F(LinkRegistryTest, NewerHelloTakesTheNameOver) {
    start_endpoint();
    test::MemoryPlane second_plane;
    auto config = endpoint_config(tep::UnixServer{path});
    config.group = "second";
    Endpoint second(context, clock, config, second_plane);
    ASSERT_TRUE(run_until(context, [&] { return listener.up.size() >= 2; }));
    EXPECT_EQ(listener.gone, std::vector<std::string>{"tep1"});
    EXPECT_EQ(listener.up[1].group, "second");
    endpoint.reset();
    install(live_tunnel("192.0.2.7"));
    wait_for(1);
    EXPECT_TRUE(outcomes[0]);
    EXPECT_EQ(second_plane.tunnels.size(), 1u);
}

TEST_F(LinkRegistryTest, LinkWithoutHelloIsClosed) {
    std::vector<Error> closed;
    io::LinkPtr link;
    io::connect_unix(context, path, io::endpoint_link_options(), [&](Result<io::LinkPtr> made) {
        link = *made;
        link->start([](const std::string&) {}, [&](Error why) { closed.push_back(why); });
    });
    ASSERT_TRUE(run_until(context, [&] { return !closed.empty(); }));
    EXPECT_EQ(closed[0], (Error{ErrorCode::closed, "no hello"}));
    EXPECT_TRUE(listener.up.empty());
}

TEST_F(LinkRegistryTest, EndpointThatNeverAnswersTimesOutAndAnotherCallStillWorks) {
    registry.reset();
    start_server(std::chrono::milliseconds(200));
    // An endpoint that says hello and then only reads.
    std::vector<std::string> frames;
    io::LinkPtr link;
    io::connect_unix(context, path, io::endpoint_link_options(), [&](Result<io::LinkPtr> made) {
        link = *made;
        link->start([&](std::string frame) { frames.push_back(std::move(frame)); }, [](Error) {});
        teplink::Hello hello;
        hello.name = "mute";
        hello.group = "campus";
        hello.data_plane = "none";
        EXPECT_TRUE(link->send(teplink::encode_request(1, hello)));
    });
    ASSERT_TRUE(run_until(context, [&] { return !listener.up.empty(); }));
    registry->install("mute", live_tunnel("192.0.2.7"), into(outcomes));
    wait_for(1);
    EXPECT_EQ(outcomes[0].error().code, ErrorCode::timed_out);
    ASSERT_EQ(frames.size(), 2u);  // the welcome, and the install
    // Its late answer, to an id that nobody waits for, disturbs nothing.
    EXPECT_TRUE(link->send(teplink::encode_answer(1, teplink::BatchAnswer{{Result<void>{}}})));
    registry->install("mute", live_tunnel("192.0.2.8"), into(outcomes));
    ASSERT_TRUE(run_until(context, [&] { return frames.size() == 3; }));
    EXPECT_TRUE(link->send(teplink::encode_answer(2, teplink::BatchAnswer{{Result<void>{}}})));
    wait_for(2);
    EXPECT_TRUE(outcomes[1]);
}

TEST_F(LinkRegistryTest, CompletionsAreDroppedWhenTheRegistryGoes) {
    start_endpoint();
    install(live_tunnel("192.0.2.7"));
    registry.reset();
    ASSERT_TRUE(run_until(context, [&] { return !endpoint->is_up(); }));
    test::run_ready(context);
    EXPECT_TRUE(outcomes.empty());
}

TEST_F(LinkRegistryTest, IdleTunnelsAreReported) {
    auto config = endpoint_config(tep::UnixServer{path});
    config.idle_timeout = std::chrono::seconds(1);
    endpoint = std::make_unique<Endpoint>(context, clock, config, plane);
    ASSERT_TRUE(run_until(context, [&] { return !listener.up.empty() && endpoint->is_up(); }));
    install(live_tunnel("192.0.2.7"));
    wait_for(1);
    ASSERT_TRUE(run_until(context, [&] { return !listener.idle.empty(); }));
    EXPECT_EQ(listener.idle, std::vector<IpAddress>{*parse_ip_address("192.0.2.7")});
}

TEST_F(LinkRegistryTest, ThousandTunnelsComeAndGoAndNothingIsLeft) {
    start_endpoint();
    for (int i = 0; i < 1000; ++i) {
        const auto inner = "192.0.2." + std::to_string(10 + i % 200);
        install(live_tunnel(inner, static_cast<Generation>(i) + 1));
        registry->remove("tep1", *parse_ip_address(inner), static_cast<Generation>(i) + 1,
                         into(outcomes));
    }
    wait_for(2000);
    for (const auto& outcome : outcomes) EXPECT_TRUE(outcome);
    EXPECT_TRUE(plane.tunnels.empty());
    EXPECT_EQ(endpoint->table.size(), 0u);
}

TEST_F(LinkRegistryTest, OperatorSeesStatusTunnelsAndCounters) {
    start_endpoint();
    plane.drop_counters = {{"source-mismatch", 3}};
    install(live_tunnel("192.0.2.7"));
    install(live_tunnel("192.0.2.8"));
    wait_for(2);
    auto& counters = plane.tunnels.at(*parse_ip_address("192.0.2.7")).counters;
    counters.last_seen_up = from_unix(1000);
    counters.last_seen_down = from_unix(2000);
    const tep::AdminView view{endpoint->config, endpoint->table, plane, endpoint->control,
                              endpoint->relay};
    const auto ask = [&](const std::string& line) {
        const auto answer = tep::answer_admin(view, line);
        EXPECT_EQ(answer.find('\n'), std::string::npos);
        return nlohmann::json::parse(answer);
    };
    const auto status = ask(R"({"command": "status"})");
    EXPECT_EQ(status["result"], 0);
    EXPECT_EQ(status["arguments"]["tunnels"], 2);
    EXPECT_EQ(status["arguments"]["servers"][0]["up"], true);
    const auto page = ask(R"({"command": "tunnels", "arguments": {"limit": 1}})");
    EXPECT_EQ(page["arguments"]["tunnels"][0]["inner"], "192.0.2.7");
    EXPECT_EQ(page["arguments"]["tunnels"][0]["outer-client"], "2001:db8:1::5");
    EXPECT_EQ(page["arguments"]["tunnels"][0]["last-seen-up"], 1000);
    EXPECT_EQ(page["arguments"]["tunnels"][0]["last-seen-down"], 2000);
    EXPECT_EQ(page["arguments"]["next"], "192.0.2.8");
    EXPECT_EQ(ask(R"({"command": "counters"})")["arguments"]["drops"]["source-mismatch"], 3);
    EXPECT_EQ(ask(R"({"command": "destroy"})")["result"], 2);
    for (const std::string bad :
         {"", "x", "[]", "{}", R"({"command": 1})", R"({"command": "tunnels", "arguments": 1})",
          R"({"command": "tunnels", "arguments": {"limit": 0}})",
          R"({"command": "tunnels", "arguments": {"from": "x"}})"}) {
        EXPECT_EQ(ask(bad)["result"], 1) << bad;
    }
}

// --- over TLS -----------------------------------------------------------------------------------

class TlsRegistryTest : public LinkRegistryTest {
protected:
    void SetUp() override {
        const auto pki = directory / "pki";
        ASSERT_TRUE(pki_init(pki, "test CA"));
        ASSERT_TRUE(pki_issue(pki, "dstm1", {"::1"}));
        ASSERT_TRUE(pki_issue(pki, "tep1"));
        ASSERT_TRUE(pki_issue(pki, "tep2"));
        const auto listening = registry->listen_tls({*parse_ip_address("::1"), 0}, files("dstm1"));
        if (!listening && listening.error().code == ErrorCode::unavailable) {
            GTEST_SKIP() << "no IPv6 on this host: " << to_string(listening.error());
        }
        ASSERT_TRUE(listening) << to_string(listening.error());
        port = *listening;
    }
    io::TlsFiles files(const std::string& name) {
        const auto stem = directory / "pki/";
        return {stem + name + ".crt", stem + name + ".key", stem + "ca.crt"};
    }
    std::uint16_t port = 0;
};

TEST_F(TlsRegistryTest, EndpointWithItsOwnCertificateIsWelcome) {
    endpoint = std::make_unique<Endpoint>(
        context, clock, endpoint_config(tep::TlsServer{"::1", port, files("tep1")}), plane);
    ASSERT_TRUE(run_until(context, [&] { return !listener.up.empty(); }));
    install(live_tunnel("192.0.2.7"));
    wait_for(1);
    EXPECT_TRUE(outcomes[0]);
}

TEST_F(TlsRegistryTest, EndpointWithAnothersCertificateIsRefused) {
    std::vector<std::string> frames;
    io::LinkPtr link;
    io::connect_tls(context, "::1", port, files("tep2"), io::endpoint_link_options(),
                    [&](Result<io::LinkPtr> made) {
                        ASSERT_TRUE(made) << to_string(made.error());
                        link = *made;
                        link->start([&](std::string f) { frames.push_back(std::move(f)); },
                                    [](Error) {});
                        teplink::Hello hello;
                        hello.name = "tep1";
                        hello.group = "campus";
                        hello.data_plane = "none";
                        EXPECT_TRUE(link->send(teplink::encode_request(1, hello)));
                    });
    ASSERT_TRUE(run_until(context, [&] { return !frames.empty(); }));
    const auto answer = nlohmann::json::parse(frames[0]);
    EXPECT_EQ(answer["error"]["code"], teplink::code_refused);
    test::run_ready(context);
    EXPECT_TRUE(listener.up.empty());
}

}  // namespace
}  // namespace dstm::server
