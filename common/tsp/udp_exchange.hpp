// One peer's signalling by datagrams (RFC 5572 s4.4.1.2): puts a ServerSession behind sequence
// numbers. Each new sequence is one message and gets one reply; the same sequence again gets the
// same reply again, with its own timestamp, and starts nothing. It knows no socket, no other peer
// and no limit of what may be sent to whom (udp_server.hpp).
//
// The client numbers its packets one by one and waits for each reply, so that only two sequences
// mean something: the last, which is a repeat, and the next. Whatever else comes is late, or is
// early and will be repeated; it is left alone.
//
// The session's replies and the sequences they answer:
// - A message that the session answers: that answer; while the owner works on it, later.
// - A message that it does not answer (AUTHENTICATE PLAIN, accept): header only, at once.
// - A second reply to one message (200 after rspauth) waits for the client's next sequence, which
//   is a header without data. A client that goes on with a message instead does not want it.
// - What the session says unasked (its limits of time) is not sent.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "common/tsp/server_session.hpp"
#include "common/tsp/udp_header.hpp"

namespace dstm::tsp {

class UdpExchange {
public:
    enum class Verdict {
        taken,        // a new message
        repeated,     // the last one again
        in_work,      // the last one again, and its reply is not ready
        altered,      // the last sequence with other data
        out_of_turn,  // late, or too early
    };
    struct Outcome {
        Verdict verdict = Verdict::taken;
        std::optional<std::string> datagram;  // the reply
        ServerActions actions;                // for the owner; no Send among them
    };

    UdpExchange(const ServerSessionConfig& config, UdpHeader first, Instant now);

    // The first packet is the one whose header was given.
    [[nodiscard]] Outcome receive(const UdpPacket& packet, Instant now);
    // As ServerSession has them; the verdict says nothing.
    [[nodiscard]] Outcome handle(const AuthenticationStepDone& event, Instant now);
    [[nodiscard]] Outcome handle(const TunnelAnswered& event, Instant now);
    [[nodiscard]] Outcome handle(const TimePassed& event, Instant now);

    [[nodiscard]] std::optional<Instant> deadline() const { return session_.deadline(); }
    [[nodiscard]] bool is_closed() const { return session_.is_closed(); }
    [[nodiscard]] std::uint32_t first_sequence() const { return first_sequence_; }
    [[nodiscard]] Instant began_at() const { return began_at_; }
    // A VERSION came with the first sequence again: whether the client signals anew with it. Late
    // repeats, and a single one that somebody made up, do not say so: it takes two, new ones, each
    // later than the other, without a message of the dialogue between them.
    [[nodiscard]] bool takes_for_restart(UdpHeader version);

    // More than its first sequence was seen: somebody goes on as if our reply had arrived.
    [[nodiscard]] bool has_stepped() const { return has_stepped_; }
    // A challenge of ours was answered rightly: our replies do arrive where they are sent.
    [[nodiscard]] bool is_proven() const { return is_proven_; }
    // The owner works for it, or it holds something that would have to be given back.
    [[nodiscard]] bool is_at_stake() const { return is_awaiting_ || session_.has_offer(); }

private:
    [[nodiscard]] Outcome repeat(const UdpPacket& packet);
    [[nodiscard]] Outcome settle(ServerActions actions);
    [[nodiscard]] std::string reply_datagram() const;

    ServerSession session_;
    std::uint32_t first_sequence_;
    Instant began_at_;
    bool has_begun_ = false;
    bool has_stepped_ = false;
    std::uint32_t first_timestamp_;
    std::uint32_t last_timestamp_;         // of the first sequence, before the second came
    std::optional<std::uint32_t> restart_;  // timestamp of a VERSION that may begin anew

    // Of the last message.
    UdpHeader header_;
    std::size_t data_size_ = 0;
    std::size_t data_hash_ = 0;
    std::optional<std::string> reply_;  // nullopt: in work

    std::deque<std::string> surplus_;  // replies that wait for the next sequence
    bool is_awaiting_ = false;         // the owner works on a step or a request
    bool was_challenged_ = false;
    bool is_proven_ = false;
};

// Why `data` is not one whole TSP message; nullptr: it is one. Lines end with LF, and one that
// begins with AUTHENTICATE may have the SASL message with it; a body is as long as Content-length
// says (RFC 5572 s4.4.3). What a client is known to put behind either is cut off: a NUL, CR LF.
[[nodiscard]] const char* find_datagram_fault(std::string_view& data);

}  // namespace dstm::tsp
