// Seeded noise against both sessions and the XML reader: no crash, no rule broken. Noise alone
// never gets past the first line, so most of it is well-formed messages, shuffled and damaged.
#include <random>

#include <gtest/gtest.h>

#include "common/tsp/framing.hpp"
#include "common/tsp/tunnel_xml.hpp"
#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp {
namespace {

using namespace std::string_literals;
using script::at;

constexpr int rounds = 100'000;

class Noise {
public:
    explicit Noise(unsigned seed) : random_(seed) {}

    std::size_t below(std::size_t limit) { return random_() % limit; }

    std::string bytes(std::size_t size_max) {
        std::string out(below(size_max + 1), '\0');
        for (auto& byte : out) byte = static_cast<char>(random_());
        return out;
    }

    // A few parts, one after the other, perhaps with some bytes changed, lost or doubled.
    std::string mixture(const std::vector<std::string>& parts) {
        std::string out;
        for (auto count = 1 + below(5); count > 0; --count) {
            out += below(20) == 0 ? bytes(40) : parts[below(parts.size())];
        }
        if (below(2) == 0) return out;
        for (auto count = below(4); count > 0 && !out.empty(); --count) {
            const auto at = below(out.size());
            switch (below(3)) {
                case 0: out[at] = static_cast<char>(random_()); break;
                case 1: out.erase(at, 1 + below(3)); break;
                default: out.insert(at, out.substr(at, 1 + below(20))); break;
            }
        }
        return out;
    }

private:
    std::mt19937 random_;
};

TEST(TspRandom, XmlReaderSurvives) {
    Noise noise(11);
    const std::vector<std::string> parts{"<tunnel action=\"create\" type=\"v4v6\">",
                                         "</tunnel>",
                                         "<client>",
                                         "</client>",
                                         "<address type=\"ipv6\">2001:db8::1</address>",
                                         "<router>",
                                         "</router>",
                                         "<prefix length=\"48\"/>",
                                         "<keepalive interval=\"30\">",
                                         "</keepalive>",
                                         "<dns_server>",
                                         "</dns_server>",
                                         "<broker>",
                                         "</broker>",
                                         "<lease seconds=\"1\"></lease>",
                                         "&amp;",
                                         "&#65;",
                                         "<![CDATA[",
                                         "]]>",
                                         "<!-- -->",
                                         "<?xml version=\"1.0\"?>",
                                         " ",
                                         "\r\n",
                                         "<",
                                         ">",
                                         "\"",
                                         "<tunnel action=\"accept\"></tunnel>",
                                         "<!DOCTYPE tunnel [",
                                         "]>",
                                         "<host id=\"a\"/>"};
    int good = 0;
    for (int i = 0; i < rounds; ++i) {
        const auto xml = noise.below(10) == 0 ? noise.bytes(200) : noise.mixture(parts);
        const auto message = parse_tunnel_xml(xml);
        if (!message) continue;
        ++good;
        const auto again = parse_tunnel_xml(write_tunnel_xml(*message));
        EXPECT_TRUE(again) << xml;
    }
    EXPECT_GT(good, 100) << "the mixture should get past the parser now and then";
}

TEST(TspRandom, ServerSessionKeepsItsRules) {
    Noise noise(12);
    auto config = script::all_mechanisms();
    config.limits.line_size_max = 300;
    config.limits.body_size_max = 500;
    config.limits.commands_max = 20;
    const std::vector<std::string> parts{"VERSION=2.0.0\r\n",
                                         "AUTHENTICATE ANONYMOUS\r\n",
                                         "AUTHENTICATE PLAIN\r\n",
                                         "\0alice\0secret\r\n"s,
                                         "AUTHENTICATE DIGEST-MD5\r\n",
                                         "AUTHENTICATE SCRAM-SHA-256 YQ==\r\n",
                                         "YQ==\r\n",
                                         "\0"s,
                                         "\r\n",
                                         script::create_v4v6(),
                                         script::accept(),
                                         script::reject(),
                                         script::create_v4v6(),
                                         script::accept(),
                                         script::command("action=\"info\""),
                                         script::command("action=\"delete\""),
                                         "Content-length: 10\r\n",
                                         "Content-length: 99999999999999999999\r\n"};
    int confirmed = 0;
    for (int i = 0; i < rounds; ++i) {
        script::ObligingOwner owner(config);
        // Half of the rounds begin as they should, so that the later phases are reached.
        if (noise.below(2) == 0) owner.receive("VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n");
        // One part at a time: what comes together with its create is no answer to the offer.
        for (auto count = noise.below(12); count > 0; --count) {
            owner.receive(noise.below(4) == 0 ? noise.mixture(parts)
                                              : parts[noise.below(parts.size())]);
        }
        owner.end();
        ASSERT_TRUE(owner.is_closed()) << "round " << i;
        ASSERT_FALSE(HasFailure()) << "round " << i;
        confirmed += owner.confirmed();
    }
    EXPECT_GT(confirmed, 100);
}

// The client's owner for noise: plays along, and checks that nothing follows Close.
class WillingClient {
public:
    WillingClient() { carry_out(session_.handle(client::Connected{}, at(0))); }

    void receive(std::string_view bytes) {
        carry_out(session_.handle(client::BytesReceived{bytes}, at(0)));
    }
    void end() { carry_out(session_.handle(client::PeerClosed{}, at(0))); }
    [[nodiscard]] bool is_closed() const { return is_closed_; }
    [[nodiscard]] int answered() const { return answered_; }

private:
    void carry_out(const client::Actions& actions) {
        for (const auto& action : actions) {
            ASSERT_FALSE(is_closed_) << "an action after Close";
            if (std::holds_alternative<client::Close>(action)) is_closed_ = true;
        }
        EXPECT_EQ(session_.is_closed(), is_closed_);
        for (const auto& action : actions) {
            if (std::holds_alternative<client::ChooseMechanism>(action)) {
                carry_out(session_.handle(client::MechanismChosen{"SCRAM-SHA-256", "a"}, at(0)));
            } else if (std::holds_alternative<client::ContinueAuthentication>(action)) {
                carry_out(session_.handle(client::AuthenticationStepDone{false, "b"}, at(0)));
            } else if (std::holds_alternative<client::Authenticated>(action)) {
                command();
            } else if (std::holds_alternative<client::CommandAnswered>(action)) {
                ++answered_;
                command();
            }
        }
    }
    void command() {
        if (!session_.is_ready()) return;
        TunnelMessage message;
        message.action = static_cast<Action>(answered_ % 5);
        carry_out(session_.handle(client::CommandChosen{message}, at(0)));
    }

    ClientSession session_{{}};
    bool is_closed_ = false;
    int answered_ = 0;
};

TEST(TspRandom, ClientSessionKeepsItsRules) {
    Noise noise(13);
    const auto info = write_tunnel_xml(*script::tunnel_granted().message);
    const std::vector<std::string> parts{"CAPABILITY TUNNEL=V4V6 AUTH=SCRAM-SHA-256\r\n",
                                         "YQ==\r\n",
                                         "200 Success\r\n",
                                         "300 Authentication failed\r\n",
                                         "1302 Unsupported client version\r\n",
                                         info,
                                         script::framed("200 Success\r\n" + info),
                                         script::framed("200 Success\r\n"),
                                         script::framed("301 No more tunnels available\r\n"),
                                         "\r\n",
                                         "Content-length: 10\r\n",
                                         script::framed("1530 Server too busy\r\n" + info)};
    int answered = 0;
    for (int i = 0; i < rounds; ++i) {
        WillingClient owner;
        if (noise.below(2) == 0) {
            owner.receive("CAPABILITY AUTH=SCRAM-SHA-256\r\nYQ==\r\nYQ==\r\n200 Success\r\n");
        }
        for (auto count = noise.below(6); count > 0; --count) {
            owner.receive(noise.below(20) == 0 ? noise.bytes(1000) : noise.mixture(parts));
        }
        owner.end();
        ASSERT_TRUE(owner.is_closed()) << "round " << i;
        ASSERT_FALSE(HasFailure()) << "round " << i;
        answered += owner.answered();
    }
    EXPECT_GT(answered, 100);
}

TEST(TspRandom, FramingNeverHoldsMoreThanItsLimits) {
    Noise noise(14);
    for (int i = 0; i < 2000; ++i) {
        Framing framing({64, 128});
        bool failed = false;
        for (int j = 0; j < 50 && !failed; ++j) {
            framing.append(noise.below(2) == 0 ? "Content-length: 100\r\n" : noise.bytes(50));
            while (true) {
                const auto piece = framing.next_body();
                failed = !piece.has_value();
                if (failed || !piece->has_value()) break;
                EXPECT_LE((*piece)->size(), 128u);
            }
            if (failed) break;
            EXPECT_LE(framing.buffered(), framing.buffered_max());
        }
    }
}

}  // namespace
}  // namespace dstm::tsp
