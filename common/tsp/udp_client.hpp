// The client's side of TSP over UDP (RFC 5572 s4.4.1.2), as a machine of values: a ClientSession
// behind sequence numbers, with the same events and actions, but that each Send is one datagram and
// each BytesReceived was one. It knows no socket and no clock.
//
// One datagram is unanswered at a time: the next goes out when the reply to it has come. It is sent
// again with the same sequence (N4) and a new timestamp, less and less often (N3, N5), with the
// figures of deployed clients. Nobody answers: Failed, and has_been_answered() says whether anybody
// ever did.
//
// Nothing tells that a server was restarted meanwhile, and a server says nothing to a dialogue that
// it does not know. So a create or delete that is not the first command fails soon: its owner does
// better to begin a new dialogue.
//
// Where a session waits for words that the server has not sent, it asks with a datagram without
// data: for the status after the server's last SASL message, as deployed servers expect.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/tsp/client_session.hpp"
#include "common/tsp/udp_header.hpp"

namespace dstm::tsp {

struct UdpClientConfig {
    ClientSessionConfig session;      // its answer_timeout is not used
    std::uint32_t first_sequence = 0;  // random, or forged replies are easy; cut to 28 bits
    // Waits after each copy of a datagram. Before the server's first reply only the first
    // `copies_to_silence` count.
    std::vector<Duration> waits = {
        std::chrono::seconds(2), std::chrono::seconds(2), std::chrono::seconds(2),
        std::chrono::seconds(2), std::chrono::seconds(4), std::chrono::seconds(8),
        std::chrono::seconds(16), std::chrono::seconds(30)};
    std::size_t copies_to_silence = 3;
    // The same for a create or delete on a dialogue that has carried a command before.
    std::vector<Duration> waits_on_reuse = {std::chrono::milliseconds(500),
                                            std::chrono::milliseconds(500),
                                            std::chrono::seconds(1)};
    std::size_t datagram_size_max = 4096;
    // Replies without data in a row to questions without data, until the server is given up.
    unsigned empty_replies_max = 3;
};

class UdpClient {
public:
    UdpClient(UdpClientConfig config, Instant now);

    [[nodiscard]] client::Actions handle(const client::Connected& event, Instant now);
    // One datagram.
    [[nodiscard]] client::Actions handle(const client::BytesReceived& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::MechanismChosen& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::AuthenticationStepDone& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::CommandChosen& event, Instant now);
    // The network says that the server cannot be reached.
    [[nodiscard]] client::Actions handle(const client::PeerClosed& event, Instant now);
    [[nodiscard]] client::Actions handle(const client::TimePassed& event, Instant now);

    [[nodiscard]] std::optional<Instant> deadline() const;
    [[nodiscard]] bool is_closed() const { return session_.is_closed(); }
    [[nodiscard]] bool is_ready() const { return session_.is_ready(); }
    // Something was sent, or is to be, that no reply has come to.
    [[nodiscard]] bool has_unanswered() const { return in_flight_ || !outbox_.empty(); }
    [[nodiscard]] bool has_been_answered() const { return has_been_answered_; }

private:
    struct InFlight {
        std::string data;
        std::size_t copies = 1;
        Instant sent_at;  // the last copy
    };

    [[nodiscard]] client::Actions settle(client::Actions from_session, Instant now);
    void enqueue(std::string bytes);
    void send_next(client::Actions& out, Instant now);
    [[nodiscard]] std::string datagram(Instant now) const;
    [[nodiscard]] client::Actions give_up(Instant now);
    [[nodiscard]] const std::vector<Duration>& waits() const;
    [[nodiscard]] std::size_t copies_max() const;

    UdpClientConfig config_;
    ClientSession session_;
    Instant began_at_;
    std::uint32_t sequence_;  // of the datagram in flight, or of the next
    std::deque<std::string> outbox_;
    std::optional<InFlight> in_flight_;
    bool has_been_answered_ = false;
    bool has_carried_command_ = false;
    bool is_reused_ = false;  // the last command was a create or delete, and not the first
    unsigned empty_replies_ = 0;
};

}  // namespace dstm::tsp
