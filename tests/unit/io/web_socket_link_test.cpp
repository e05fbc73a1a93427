// Both ends of a link in one process: over a UNIX socket in a temporary directory, and over TLS on
// ::1 with a CA made for the test.
#include "common/io/web_socket_link.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "common/io/beast.hpp"
#include "common/io/timer.hpp"
#include "dstm-server/admin/pki.hpp"
#include "support/event_loop.hpp"
#include "support/temp_dir.hpp"

namespace dstm::io {
namespace {

using std::chrono::milliseconds;
using test::run_until;

LinkOptions quick_options() {
    LinkOptions options;
    options.target = "/test";
    options.subprotocol = "test.1";
    options.frame_size_max = 100'000;
    options.ping_every = milliseconds(30);
    options.silent_max = milliseconds(200);
    options.handshake_max = milliseconds(2000);
    options.close_max = milliseconds(300);
    return options;
}

// One end of a link and all that it was told.
struct End {
    LinkPtr link;
    std::vector<std::string> frames;
    std::vector<Error> closed;

    void start() {
        link->start([this](std::string frame) { frames.push_back(std::move(frame)); },
                    [this](Error why) { closed.push_back(std::move(why)); });
    }
};

class LinkTest : public testing::Test {
protected:
    LinkAcceptor::OnLink keep() {
        return [this](LinkPtr link) { server.link = std::move(link); };
    }
    LinkAcceptor::OnRejected note() {
        return [this](const std::string&, const Error& error) { rejected.push_back(error); };
    }
    OnConnected answer() {
        return [this](Result<LinkPtr> link) {
            if (link)
                client.link = *link;
            else
                failed = link.error();
        };
    }
    void open(LinkOptions client_options, LinkOptions server_options) {
        listen(std::move(server_options));
        connect_unix(context, path, std::move(client_options), answer());
        ASSERT_TRUE(run_until(context, [&] { return client.link && server.link; }))
            << (failed ? to_string(*failed) : "no error");
        client.start();
        server.start();
    }
    void open() { open(quick_options(), quick_options()); }
    void listen(LinkOptions options) {
        auto made = listen_unix(context, path, std::move(options), keep(), note());
        ASSERT_TRUE(made) << to_string(made.error());
        acceptor = std::move(*made);
    }

    // The dialling end by hand, for what our own would never do.
    void shake_hands(websocket::stream<Unix::socket>& stream) {
        stream.next_layer().connect(Unix::endpoint(path));
        stream.set_option(websocket::stream_base::decorator([](websocket::request_type& head) {
            head.set(http::field::sec_websocket_protocol, "test.1");
        }));
        bool is_done = false;
        stream.async_handshake("localhost", "/test",
                               [&](const ErrorCodeOfAsio&) { is_done = true; });
        ASSERT_TRUE(run_until(context, [&] { return is_done && server.link != nullptr; }));
    }

    asio::io_context context;
    test::TempDir directory;
    std::string path = directory / "link.sock";
    std::unique_ptr<LinkAcceptor> acceptor;
    End client;
    End server;
    std::optional<Error> failed;
    std::vector<Error> rejected;
};

TEST_F(LinkTest, FramesGoBothWaysInOrder) {
    open();
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(client.link->send("up " + std::to_string(i)));
        ASSERT_TRUE(server.link->send(std::string(1000, 'x') + std::to_string(i)));
    }
    ASSERT_TRUE(run_until(
        context, [&] { return server.frames.size() == 100 && client.frames.size() == 100; }));
    EXPECT_EQ(server.frames[99], "up 99");
    EXPECT_EQ(client.frames[7], std::string(1000, 'x') + "7");
    EXPECT_EQ(client.link->peer_name(), "");
    EXPECT_EQ(client.link->peer_address(), "unix");
}

TEST_F(LinkTest, QuietLinkIsKeptOpenByPings) {
    open();
    bool passed = false;
    Timer timer(context);
    timer.after(quick_options().silent_max * 3, [&] { passed = true; });
    ASSERT_TRUE(run_until(context, [&] { return passed; }));
    EXPECT_TRUE(client.closed.empty());
    EXPECT_TRUE(server.closed.empty());
}

TEST_F(LinkTest, SilentPeerIsClosed) {
    // A client that completes the handshake and then neither reads nor answers pings.
    listen(quick_options());
    websocket::stream<Unix::socket> dead(context);
    shake_hands(dead);
    server.start();
    ASSERT_TRUE(run_until(context, [&] { return !server.closed.empty(); }));
    EXPECT_EQ(server.closed[0].code, ErrorCode::timed_out);
}

TEST_F(LinkTest, OrderlyCloseSendsWhatIsQueuedAndSaysWhy) {
    open();
    ASSERT_TRUE(client.link->send("last words"));
    client.link->close("good bye");
    EXPECT_EQ(client.link->send("more").error().code, ErrorCode::closed);
    ASSERT_TRUE(
        run_until(context, [&] { return !client.closed.empty() && !server.closed.empty(); }));
    EXPECT_EQ(server.frames, std::vector<std::string>{"last words"});
    EXPECT_EQ(server.closed, (std::vector<Error>{{ErrorCode::closed, "good bye"}}));
    EXPECT_EQ(client.closed, (std::vector<Error>{{ErrorCode::closed, "good bye"}}));
}

TEST_F(LinkTest, ClosesThatCrossEndBothSidesOnce) {
    open();
    client.link->close("mine");
    server.link->close("no, mine");
    ASSERT_TRUE(
        run_until(context, [&] { return !client.closed.empty() && !server.closed.empty(); }));
    test::run_ready(context);
    EXPECT_EQ(client.closed, (std::vector<Error>{{ErrorCode::closed, "mine"}}));
    EXPECT_EQ(server.closed, (std::vector<Error>{{ErrorCode::closed, "no, mine"}}));
}

TEST_F(LinkTest, CutIsSeenOnceAsUnavailable) {
    listen(quick_options());
    auto dead = std::make_unique<websocket::stream<Unix::socket>>(context);
    shake_hands(*dead);
    server.start();
    dead.reset();  // no close frame: the process was killed
    ASSERT_TRUE(run_until(context, [&] { return !server.closed.empty(); }));
    test::run_ready(context);
    ASSERT_EQ(server.closed.size(), 1u);
    EXPECT_EQ(server.closed[0].code, ErrorCode::unavailable);
    EXPECT_EQ(server.link->send("x").error().code, ErrorCode::closed);
}

TEST_F(LinkTest, BinaryFrameClosesTheLink) {
    listen(quick_options());
    websocket::stream<Unix::socket> other(context);
    shake_hands(other);
    server.start();
    other.binary(true);
    other.write(asio::buffer("xyz", 3));
    ASSERT_TRUE(run_until(context, [&] { return !server.closed.empty(); }));
    EXPECT_TRUE(server.frames.empty());
}

TEST_F(LinkTest, OversizedFrameClosesTheLink) {
    open();
    ASSERT_TRUE(client.link->send(std::string(quick_options().frame_size_max + 1, 'x')));
    ASSERT_TRUE(
        run_until(context, [&] { return !client.closed.empty() && !server.closed.empty(); }));
    EXPECT_EQ(server.closed[0].code, ErrorCode::invalid);
    EXPECT_TRUE(server.frames.empty());
}

TEST_F(LinkTest, FullQueueRefusesAndTheLinkLivesOn) {
    auto options = quick_options();
    options.queue_size_max = 10'000;
    open(options, quick_options());
    ASSERT_TRUE(client.link->send(std::string(9'000, 'x')));
    EXPECT_EQ(client.link->send(std::string(2'000, 'x')).error().code, ErrorCode::exhausted);
    ASSERT_TRUE(run_until(context, [&] { return server.frames.size() == 1; }));
    EXPECT_TRUE(client.link->send(std::string(9'000, 'x')));
    ASSERT_TRUE(run_until(context, [&] { return server.frames.size() == 2; }));
}

TEST_F(LinkTest, OtherTargetIsRefused) {
    auto other = quick_options();
    other.target = "/elsewhere";
    listen(quick_options());
    connect_unix(context, path, other, answer());
    ASSERT_TRUE(run_until(context, [&] { return failed && !rejected.empty(); }));
    EXPECT_EQ(rejected[0].code, ErrorCode::refused);
    EXPECT_FALSE(server.link);
}

TEST_F(LinkTest, OtherSubprotocolIsRefused) {
    auto other = quick_options();
    other.subprotocol = "test.2";
    listen(quick_options());
    connect_unix(context, path, other, answer());
    ASSERT_TRUE(run_until(context, [&] { return failed && !rejected.empty(); }));
    EXPECT_FALSE(server.link);
}

TEST_F(LinkTest, ConnectionThatSaysNothingIsDroppedInTime) {
    auto options = quick_options();
    options.handshake_max = milliseconds(50);
    listen(options);
    Unix::socket silent(context);
    silent.connect(Unix::endpoint(path));
    ASSERT_TRUE(run_until(context, [&] { return !rejected.empty(); }));
    EXPECT_EQ(rejected[0].code, ErrorCode::timed_out);
}

TEST_F(LinkTest, NoiseInsteadOfAHandshakeIsRejected) {
    listen(quick_options());
    Unix::socket noisy(context);
    noisy.connect(Unix::endpoint(path));
    asio::write(noisy, asio::buffer(std::string(20'000, '\x01')));
    ASSERT_TRUE(run_until(context, [&] { return !rejected.empty(); }));
    EXPECT_FALSE(server.link);
}

TEST_F(LinkTest, NobodyThereIsUnavailable) {
    connect_unix(context, path, quick_options(), answer());
    EXPECT_FALSE(failed);  // never from inside the call
    ASSERT_TRUE(run_until(context, [&] { return failed.has_value(); }));
    EXPECT_EQ(failed->code, ErrorCode::unavailable);
}

TEST_F(LinkTest, PathThatIsTooLongIsInvalid) {
    connect_unix(context, std::string(200, 'x'), quick_options(), answer());
    ASSERT_TRUE(run_until(context, [&] { return failed.has_value(); }));
    EXPECT_EQ(failed->code, ErrorCode::invalid);
    const auto made = listen_unix(context, std::string(200, 'x'), quick_options(), keep(), note());
    EXPECT_EQ(made.error().code, ErrorCode::invalid);
}

TEST_F(LinkTest, SocketFileIsForOwnerAndGroupAndGoesWithTheAcceptor) {
    listen(quick_options());
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660u);
    acceptor.reset();
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(LinkTest, StaleSocketIsReplacedButNotALiveOneAndNotAFile) {
    {
        Unix::acceptor killed(context, Unix::endpoint(path));  // leaves its file behind
    }
    listen(quick_options());
    const auto second = listen_unix(context, path, quick_options(), keep(), note());
    EXPECT_EQ(second.error().code, ErrorCode::conflict);

    const std::string file = directory / "file";
    std::ofstream(file) << "text";
    const auto third = listen_unix(context, file, quick_options(), keep(), note());
    EXPECT_EQ(third.error().code, ErrorCode::conflict);
    EXPECT_TRUE(std::filesystem::exists(file));
}

// --- TLS ----------------------------------------------------------------------------------------

class TlsLinkTest : public LinkTest {
protected:
    void SetUp() override {
        ASSERT_TRUE(server::pki_init(directory / "pki", "test CA"));
        ASSERT_TRUE(server::pki_issue(directory / "pki", "dstm1", {"::1", "localhost"}));
        ASSERT_TRUE(server::pki_issue(directory / "pki", "tep1"));
    }
    TlsFiles files(const std::string& name, const std::string& pki = "pki") {
        const auto at = (directory / pki) + "/";
        return {at + name + ".crt", at + name + ".key", at + "ca.crt"};
    }
    void listen_as(const TlsFiles& tls) {
        const IpEndpoint any{*parse_ip_address("::1"), 0};
        auto made = listen_tls(context, any, tls, quick_options(), keep(), note());
        if (!made && made.error().code == ErrorCode::unavailable) {
            GTEST_SKIP() << "no IPv6 on this host: " << to_string(made.error());
        }
        ASSERT_TRUE(made) << to_string(made.error());
        acceptor = std::move(*made);
    }
    void connect_as(const TlsFiles& tls, const std::string& host = "::1") {
        connect_tls(context, host, acceptor->port(), tls, quick_options(), answer());
    }
    // Neither side may take the other for a link.
    void expect_refused_by_client() {
        ASSERT_TRUE(run_until(context, [&] { return failed.has_value(); }));
        EXPECT_EQ(failed->code, ErrorCode::refused) << failed->context;
        EXPECT_FALSE(server.link);
    }
    void expect_refused_by_server() {
        ASSERT_TRUE(run_until(context, [&] { return failed && !rejected.empty(); }));
        EXPECT_EQ(rejected[0].code, ErrorCode::refused) << rejected[0].context;
        EXPECT_FALSE(server.link);
        EXPECT_FALSE(client.link);
    }
};

TEST_F(TlsLinkTest, EachSideKnowsTheOthersCertifiedName) {
    listen_as(files("dstm1"));
    connect_as(files("tep1"));
    ASSERT_TRUE(run_until(context, [&] { return client.link && server.link; }))
        << (failed ? to_string(*failed) : "no error");
    EXPECT_EQ(server.link->peer_name(), "tep1");
    EXPECT_EQ(client.link->peer_name(), "dstm1");
    client.start();
    server.start();
    const std::string big(90'000, 'x');
    ASSERT_TRUE(client.link->send(big));
    ASSERT_TRUE(server.link->send("down"));
    ASSERT_TRUE(
        run_until(context, [&] { return !server.frames.empty() && !client.frames.empty(); }));
    EXPECT_EQ(server.frames[0], big);
    client.link->close("done");
    ASSERT_TRUE(run_until(context, [&] { return !server.closed.empty(); }));
    EXPECT_EQ(server.closed[0], (Error{ErrorCode::closed, "done"}));
}

TEST_F(TlsLinkTest, ServerOfAnotherCaIsRefused) {
    ASSERT_TRUE(server::pki_init(directory / "other", "other CA"));
    ASSERT_TRUE(server::pki_issue(directory / "other", "dstm1", {"::1"}));
    listen_as(files("dstm1", "other"));
    connect_as(files("tep1"));
    expect_refused_by_client();
}

TEST_F(TlsLinkTest, EndpointOfAnotherCaIsRefused) {
    ASSERT_TRUE(server::pki_init(directory / "other", "other CA"));
    ASSERT_TRUE(server::pki_issue(directory / "other", "tep1"));
    listen_as(files("dstm1"));
    auto mixed = files("tep1", "other");
    mixed.ca = files("tep1").ca;
    connect_as(mixed);
    expect_refused_by_server();
}

TEST_F(TlsLinkTest, ServerUnderAnotherHostNameIsRefused) {
    ASSERT_TRUE(server::pki_issue(directory / "pki", "dstm2", {"dstm2.campus.example"}));
    listen_as(files("dstm2"));
    connect_as(files("tep1"));
    expect_refused_by_client();
}

TEST_F(TlsLinkTest, ExpiredEndpointCertificateIsRefused) {
    const server::CertificateTimes over{std::chrono::hours(-48), std::chrono::hours(-24)};
    ASSERT_TRUE(server::pki_issue(directory / "pki", "old", {}, over));
    listen_as(files("dstm1"));
    connect_as(files("old"));
    expect_refused_by_server();
}

TEST_F(TlsLinkTest, ExpiredServerCertificateIsRefused) {
    const server::CertificateTimes over{std::chrono::hours(-48), std::chrono::hours(-24)};
    ASSERT_TRUE(server::pki_issue(directory / "pki", "old", {"::1"}, over));
    listen_as(files("old"));
    connect_as(files("tep1"));
    expect_refused_by_client();
}

TEST_F(TlsLinkTest, ClientWithoutCertificateIsRefused) {
    listen_as(files("dstm1"));
    ssl::context plain(ssl::context::tls_client);
    websocket::stream<TlsStream> stream(context, plain);
    stream.next_layer().next_layer().connect(
        Tcp::endpoint(asio::ip::make_address("::1"), acceptor->port()));
    stream.next_layer().async_handshake(ssl::stream_base::client, [](const ErrorCodeOfAsio&) {});
    ASSERT_TRUE(run_until(context, [&] { return !rejected.empty(); }));
    EXPECT_EQ(rejected[0].code, ErrorCode::refused) << rejected[0].context;
}

TEST_F(TlsLinkTest, OlderTlsIsRefused) {
    listen_as(files("dstm1"));
    ssl::context older(ssl::context::tlsv12_client);
    older.use_certificate_chain_file(files("tep1").certificate);
    older.use_private_key_file(files("tep1").key, ssl::context::pem);
    websocket::stream<TlsStream> stream(context, older);
    stream.next_layer().next_layer().connect(
        Tcp::endpoint(asio::ip::make_address("::1"), acceptor->port()));
    stream.next_layer().async_handshake(ssl::stream_base::client, [](const ErrorCodeOfAsio&) {});
    ASSERT_TRUE(run_until(context, [&] { return !rejected.empty(); }));
    EXPECT_FALSE(server.link);
}

TEST_F(TlsLinkTest, FileThatCannotBeUsedIsNamed) {
    auto broken = files("tep1");
    broken.key = directory / "missing.key";
    connect_tls(context, "::1", 1, broken, quick_options(), answer());
    ASSERT_TRUE(run_until(context, [&] { return failed.has_value(); }));
    EXPECT_EQ(failed->code, ErrorCode::invalid);
    EXPECT_NE(failed->context.find("missing.key"), std::string::npos);

    auto swapped = files("tep1");
    swapped.key = files("dstm1").key;  // of another certificate
    const IpEndpoint any{*parse_ip_address("::1"), 0};
    const auto made = listen_tls(context, any, swapped, quick_options(), keep(), note());
    EXPECT_EQ(made.error().code, ErrorCode::invalid);
}

}  // namespace
}  // namespace dstm::io
