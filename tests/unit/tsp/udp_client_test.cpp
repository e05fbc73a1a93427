// When the client repeats, with what, and when it gives up (RFC 5572 s4.4.1.2, N3 to N5).
#include "common/tsp/udp_client.hpp"

#include <gtest/gtest.h>

namespace dstm::tsp {
namespace {

using namespace std::chrono_literals;

class UdpClientTest : public testing::Test {
protected:
    UdpClientTest() : client(config(), start) {}
    static UdpClientConfig config() {
        UdpClientConfig config;
        config.first_sequence = 0xffffff00;  // more than 28 bits: cut
        return config;
    }
    // Datagrams among the actions.
    static std::vector<UdpPacket> packets(const client::Actions& actions,
                                          std::vector<std::string>& keep) {
        std::vector<UdpPacket> found;
        keep.reserve(keep.size() + actions.size());
        for (const auto& action : actions) {
            const auto* send = std::get_if<client::Send>(&action);
            if (send == nullptr) continue;
            keep.push_back(send->bytes);
            const auto packet = decode_udp_packet(keep.back());
            EXPECT_TRUE(packet.has_value());
            if (packet) found.push_back(*packet);
        }
        return found;
    }
    std::vector<UdpPacket> packets(const client::Actions& actions) {
        kept.emplace_back();
        return packets(actions, kept.back());
    }
    client::Actions reply(std::uint32_t sequence, std::string_view data, Instant now) {
        return client.handle(client::BytesReceived{encode_udp_packet({{sequence, 0}, data})}, now);
    }
    template <class T>
    static bool has(const client::Actions& actions) {
        return std::any_of(actions.begin(), actions.end(),
                           [](const auto& one) { return std::holds_alternative<T>(one); });
    }
    // From here on nobody answers: the times of the copies from `now`, and the failure's.
    std::vector<Duration> silence(Instant now, std::uint32_t sequence) {
        std::vector<Duration> times;
        const Instant begin = now;
        while (const auto limit = client.deadline()) {
            now = *limit;
            const auto actions = client.handle(client::TimePassed{}, now);
            times.push_back(now - begin);
            const auto sent = packets(actions);
            if (sent.empty()) {
                EXPECT_TRUE(has<client::Failed>(actions));
                break;
            }
            EXPECT_EQ(sent[0].header.sequence, sequence);
            EXPECT_EQ(sent[0].header.timestamp,
                      static_cast<std::uint32_t>((now - start).count()));
        }
        return times;
    }

    const Instant start{1h};
    UdpClient client;
    std::vector<std::vector<std::string>> kept;
    const std::uint32_t first = 0x0fffff00;
};

TEST_F(UdpClientTest, VersionIsSaidThreeTimesTwoSecondsApartAndThenNobodyIsThere) {
    const auto sent = packets(client.handle(client::Connected{}, start));
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].header.sequence, first);
    EXPECT_EQ(sent[0].data, "VERSION=2.0.0\r\n");
    EXPECT_EQ(silence(start, first), (std::vector<Duration>{2s, 4s, 6s}));
    EXPECT_FALSE(client.has_been_answered());
    EXPECT_TRUE(client.is_closed());
    EXPECT_FALSE(client.has_unanswered());
}

TEST_F(UdpClientTest, AfterAnAnswerItIsMorePatientAndBacksOff) {
    (void)client.handle(client::Connected{}, start);
    EXPECT_TRUE(has<client::ChooseMechanism>(
        reply(first, "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n", start + 1s)));
    EXPECT_FALSE(client.deadline()) << "nothing is under way";
    const auto sent = packets(
        client.handle(client::MechanismChosen{"ANONYMOUS", std::nullopt}, start + 3s));
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].header.sequence, first + 1);
    EXPECT_EQ(silence(start + 3s, first + 1),
              (std::vector<Duration>{2s, 4s, 6s, 8s, 12s, 20s, 36s, 66s}));
    EXPECT_TRUE(client.has_been_answered());
}

TEST_F(UdpClientTest, PlainGoesOutInTwoDatagrams) {
    (void)client.handle(client::Connected{}, start);
    (void)reply(first, "CAPABILITY TUNNEL=V4V6 AUTH=PLAIN\r\n", start);
    const std::string message("\0alice\0secret", 13);
    const auto line = packets(client.handle(client::MechanismChosen{"PLAIN", message}, start));
    ASSERT_EQ(line.size(), 1u);
    EXPECT_EQ(line[0].data, "AUTHENTICATE PLAIN\r\n");
    const auto response = packets(reply(first + 1, "", start));
    ASSERT_EQ(response.size(), 1u);
    EXPECT_EQ(response[0].data, message + "\r\n");
    EXPECT_EQ(response[0].header.sequence, first + 2);
    EXPECT_TRUE(has<client::Authenticated>(reply(first + 2, "200 Success\r\n", start)));
}

TEST_F(UdpClientTest, TheStatusAfterTheServersProofIsAskedForWithAHeaderAlone) {
    (void)client.handle(client::Connected{}, start);
    (void)reply(first, "CAPABILITY TUNNEL=V4V6 AUTH=DIGEST-MD5\r\n", start);
    (void)client.handle(client::MechanismChosen{"DIGEST-MD5", std::nullopt}, start);
    (void)reply(first + 1, "bm9uY2U=\r\n", start);
    (void)client.handle(client::AuthenticationStepDone{false, "response"}, start);
    EXPECT_TRUE(has<client::ContinueAuthentication>(reply(first + 2, "cnNwYXV0aD0=\r\n", start)));
    const auto question =
        packets(client.handle(client::AuthenticationStepDone{false, ""}, start));
    ASSERT_EQ(question.size(), 1u);
    EXPECT_EQ(question[0].data, "");
    EXPECT_EQ(question[0].header.sequence, first + 3);
    EXPECT_TRUE(has<client::Authenticated>(reply(first + 3, "200 Success\r\n", start)));
}

TEST_F(UdpClientTest, RepliesToOtherSequencesAndWhatIsNoSignallingAreNotHeard) {
    (void)client.handle(client::Connected{}, start);
    const std::string capability = "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n";
    EXPECT_TRUE(reply(first + 1, capability, start).empty());
    EXPECT_TRUE(reply(first - 1, capability, start).empty());
    for (const std::string& bytes :
         {std::string(), std::string("\x60\0\0\0", 4), capability, std::string(5000, '\xff')}) {
        EXPECT_TRUE(client.handle(client::BytesReceived{bytes}, start).empty());
    }
    EXPECT_FALSE(client.has_been_answered());
    EXPECT_TRUE(has<client::ChooseMechanism>(reply(first, capability, start)));
    EXPECT_TRUE(reply(first, capability, start).empty()) << "the same reply again";
}

// A server that was restarted meanwhile does not know the dialogue, and says nothing.
TEST_F(UdpClientTest, OnAReusedDialogueSilenceIsTheEndAfterTwoSecondsButForTheAccept) {
    (void)client.handle(client::Connected{}, start);
    (void)reply(first, "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n", start);
    (void)client.handle(client::MechanismChosen{"ANONYMOUS", std::nullopt}, start);
    EXPECT_TRUE(has<client::Authenticated>(reply(first + 1, "200 Success\r\n", start)));
    const auto command = [this](Action action, Instant now) {
        TunnelMessage message;
        message.action = action;
        message.type = RequestType::v4v6;
        return packets(client.handle(client::CommandChosen{message}, now)).size();
    };
    EXPECT_EQ(command(Action::delete_tunnel, start), 1u);
    EXPECT_EQ(client.deadline(), start + 2s) << "the first command is not hurried";
    EXPECT_TRUE(has<client::CommandAnswered>(
        reply(first + 2, "Content-length: 13\r\n200 Success\r\n", start)));
    EXPECT_EQ(command(Action::accept, start), 1u);
    EXPECT_EQ(client.deadline(), start + 2s) << "the server is there: it has just answered";
    (void)reply(first + 3, "", start);
    EXPECT_EQ(command(Action::create, start + 20s), 1u);
    EXPECT_EQ(silence(start + 20s, first + 4), (std::vector<Duration>{500ms, 1s, 2s}));
    EXPECT_TRUE(client.is_closed());
}

TEST_F(UdpClientTest, AnUnreachablePortIsTheEndAtOnce) {
    (void)client.handle(client::Connected{}, start);
    EXPECT_TRUE(has<client::Failed>(client.handle(client::PeerClosed{}, start)));
    EXPECT_FALSE(client.has_been_answered());
    EXPECT_FALSE(client.deadline());
}

// A server that acknowledges for ever and never answers is not asked for ever.
TEST_F(UdpClientTest, EmptyRepliesWithoutEndAreGivenUp) {
    (void)client.handle(client::Connected{}, start);
    std::uint32_t sequence = first;
    for (int i = 0; i < 10 && !client.is_closed(); ++i) (void)reply(sequence++, "", start);
    EXPECT_TRUE(client.is_closed());
    EXPECT_LE(sequence, first + 5);
}

}  // namespace
}  // namespace dstm::tsp
