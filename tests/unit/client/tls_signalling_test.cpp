// TSP over TLS: the server is the one that was meant, the client shows its certificate, and nothing
// is ever said in clear instead.
#include <fstream>

#include <gtest/gtest.h>

#include "client/net/signalling.hpp"
#include "common/io/byte_stream.hpp"
#include "common/io/real_clock.hpp"
#include "dstm-server/admin/pki.hpp"
#include "network_namespace.hpp"
#include "scripted_server.hpp"
#include "temporary_directory.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;

// Answers each line or body that it waits for, inside TLS.
class TlsScript {
public:
    TlsScript(asio::io_context& context, const io::TlsServer::Files& files,
              std::vector<Step> script,
              const asio::ip::tcp::endpoint& here = {asio::ip::address_v6::loopback(), 0})
        : tls_(std::move(*io::TlsServer::create(files))),
          acceptor_(context, here),
          script_(std::move(script)) {
        acceptor_.async_accept([this](const ErrorCodeOfAsio& error, auto socket) {
            if (error) return;
            stream_ = tls_->make_stream(std::move(socket));
            stream_->begin([this](const ErrorCodeOfAsio& failed) {
                handshake_failed = static_cast<bool>(failed);
                name = stream_->certified_name();
                if (!failed) read();
            });
        });
    }
    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

    std::string received;
    std::string name;  // of the client's certificate
    bool handshake_failed = false;

private:
    void read() {
        stream_->read_some(asio::buffer(buffer_), [this](const ErrorCodeOfAsio& error, auto size) {
            if (error) return;
            received.append(buffer_.data(), size);
            if (step_ == script_.size() ||
                received.find(script_[step_].expect) == std::string::npos) {
                return read();
            }
            stream_->write(asio::buffer(script_[step_++].reply),
                           [this](const ErrorCodeOfAsio& failed, std::size_t) {
                               if (!failed) read();
                           });
        });
    }

    std::unique_ptr<io::TlsServer> tls_;
    asio::ip::tcp::acceptor acceptor_;
    std::unique_ptr<io::ByteStream> stream_;
    std::vector<Step> script_;
    std::size_t step_ = 0;
    std::array<char, 4096> buffer_{};
};

class TlsSignallingTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_TRUE(server::pki_init(pki(), "test CA"));
        ASSERT_TRUE(server::pki_issue(pki(), "dstm", {"::1"}));
        ASSERT_TRUE(server::pki_issue(pki(), "elsewhere", {"elsewhere.example"}));
        ASSERT_TRUE(server::pki_issue(pki(), "alice"));
    }
    [[nodiscard]] std::string pki() const { return directory_.path() + "/pki"; }
    [[nodiscard]] std::string file(const std::string& name) const { return pki() + '/' + name; }
    [[nodiscard]] io::TlsServer::Files server_files(const std::string& name) const {
        return {file(name + ".crt"), file(name + ".key"), file("ca.crt")};
    }
    void start(std::uint16_t port, TlsSettings tls, std::vector<std::string> mechanisms) {
        SignallingConfig config;
        config.tls = std::move(tls);
        config.mechanisms = std::move(mechanisms);
        config.connect_timeout = 2s;
        signalling = make_signalling(context, clock, config,
                                     [this](const Event& event) { events.push_back(event); });
        signalling->connect({"::1", port});
    }
    template <class E>
    const E* wait_for() {
        const auto end = std::chrono::steady_clock::now() + 10s;
        for (;;) {
            for (const auto& event : events) {
                if (const auto* found = std::get_if<E>(&event)) return found;
            }
            if (std::chrono::steady_clock::now() > end) return nullptr;
            context.restart();
            context.run_one_for(50ms);
        }
    }

    TemporaryDirectory directory_;
    asio::io_context context;
    RealClock clock;
    std::vector<Event> events;
    std::unique_ptr<Signalling> signalling;
};

TEST_F(TlsSignallingTest, CertificateIsWhoTheClientIs) {
    TlsScript server(context, server_files("dstm"),
                     {{"VERSION=2.0.0\r\n", "CAPABILITY TUNNEL=V4V6 AUTH=EXTERNAL\r\n"},
                      {"AUTHENTICATE EXTERNAL =\r\n", "200 Success\r\n"}});
    start(server.port(), {file("ca.crt"), file("alice.crt"), file("alice.key"), {}}, {"EXTERNAL"});
    ASSERT_NE(wait_for<SessionOpened>(), nullptr);
    EXPECT_EQ(server.name, "alice");
}

TEST_F(TlsSignallingTest, WithoutACertificateOfItsOwnItUsesAnotherMechanism) {
    TlsScript server(context, server_files("dstm"),
                     {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=EXTERNAL AUTH=ANONYMOUS\r\n"},
                      {"AUTHENTICATE ANONYMOUS", "200 Success\r\n"}});
    start(server.port(), {file("ca.crt"), {}, {}, {}}, {"ANONYMOUS"});
    ASSERT_NE(wait_for<SessionOpened>(), nullptr);
    EXPECT_EQ(server.name, "");
}

TEST_F(TlsSignallingTest, ServerNameStandsForTheNameThatWasAskedFor) {
    TlsScript server(context, server_files("elsewhere"),
                     {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"},
                      {"AUTHENTICATE", "200 Success\r\n"}});
    start(server.port(), {file("ca.crt"), {}, {}, "elsewhere.example"}, {"ANONYMOUS"});
    ASSERT_NE(wait_for<SessionOpened>(), nullptr);
}

TEST_F(TlsSignallingTest, CertificateOfAnotherNameOrCaIsNotBelieved) {
    ASSERT_TRUE(server::pki_init(directory_.path() + "/other", "other CA"));
    std::vector<std::unique_ptr<TlsScript>> servers;  // what they wait for comes later
    for (const auto& [name, ca] : {std::pair{"elsewhere", file("ca.crt")},
                                   std::pair{"dstm", directory_.path() + "/other/ca.crt"}}) {
        events.clear();
        servers.push_back(
            std::make_unique<TlsScript>(context, server_files(name), std::vector<Step>{}));
        start(servers.back()->port(), {ca, {}, {}, {}}, {"ANONYMOUS"});
        const auto* failed = wait_for<SessionFailed>();
        ASSERT_NE(failed, nullptr) << name;
        EXPECT_EQ(failed->cause, SessionFailed::Cause::local) << failed->text;
        EXPECT_EQ(servers.back()->received, "") << "nothing was said to it";
        signalling.reset();
    }
}

// Of one name: a server with another's certificate, one without TLS, and the one that is meant.
TEST_F(TlsSignallingTest, AddressWhereTlsFailsIsLeftForTheNext) {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for a mount namespace";
    ASSERT_TRUE(server::pki_issue(pki(), "named", {"dstm.example"}));
    std::thread([this] {
        std::ofstream hosts(directory_.path() + "/hosts");
        std::vector<asio::ip::address> addresses;
        for (const char* address : {"127.0.0.2", "127.0.0.3", "127.0.0.4"}) {
            hosts << address << " dstm.example\n" << std::flush;
            addresses.push_back(asio::ip::make_address(address));
        }
        replace_file(directory_.path() + "/hosts", "/etc/hosts");
        TlsScript other(context, server_files("elsewhere"), {}, {addresses[0], 0});
        ScriptedServer clear(context, {{"\x01", "no TLS here\r\n"}}, addresses[1], other.port());
        TlsScript meant(context, server_files("named"),
                        {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"},
                         {"AUTHENTICATE", "200 Success\r\n"}},
                        {addresses[2], other.port()});
        SignallingConfig config;
        config.type = tsp::RequestType::v6v4;
        config.tls = TlsSettings{file("ca.crt"), {}, {}, {}};
        config.mechanisms = {"ANONYMOUS"};
        signalling = make_signalling(context, clock, config, [this](const Event& event) {
            events.push_back(event);
            const auto* failed = std::get_if<SessionFailed>(&event);
            if (failed != nullptr && failed->has_others) signalling->connect_elsewhere();
        });
        signalling->connect({"dstm.example", other.port()});
        EXPECT_NE(wait_for<SessionOpened>(), nullptr);
        EXPECT_EQ(events.size(), 3U);
        EXPECT_EQ(clear.accepted, 1U);
        signalling.reset();
    }).join();
}

TEST_F(TlsSignallingTest, MissingFileIsSaidByName) {
    TlsScript server(context, server_files("dstm"), {});
    start(server.port(), {file("ca.crt"), file("bob.crt"), file("bob.key"), {}}, {"EXTERNAL"});
    const auto* failed = wait_for<SessionFailed>();
    ASSERT_NE(failed, nullptr);
    EXPECT_EQ(failed->cause, SessionFailed::Cause::local);
    EXPECT_NE(failed->text.find("bob.crt"), std::string::npos) << failed->text;
}

// A server in clear at the port: the dialogue fails, VERSION is never said readable.
TEST_F(TlsSignallingTest, NothingIsSaidInClear) {
    ScriptedServer server(context, {{"VERSION", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"}});
    start(server.port(), {file("ca.crt"), {}, {}, {}}, {"ANONYMOUS"});
    ASSERT_NE(wait_for<SessionFailed>(), nullptr);
    EXPECT_EQ(server.received.find("VERSION"), std::string::npos);
}

}  // namespace
}  // namespace dstm::client
