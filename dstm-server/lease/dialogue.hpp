// What is said to the hook on one connection after the other (docs/wire/kea-stream.md), a machine:
// events and the time go in, bytes to send and completions come out. It knows no socket and no
// clock; kea_stream.cpp is its body.
//
// Every call is completed exactly once: by its answer, by its deadline, or by the loss of the
// connection. An address that Kea leased after the caller had given up is released again here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "dstm-server/lease/codec.hpp"
#include "dstm-server/line_buffer.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server::lease {

struct DialogueConfig {
    Duration call_timeout = std::chrono::seconds(5);
    Duration stall_timeout = std::chrono::seconds(60);  // without an answer: a dead connection
    Family family = Family::v4;
    std::size_t calls_max = 100'000;      // outstanding at once
    std::size_t leases_max = 4'000'000;   // in one list
};

class Dialogue {
public:
    explicit Dialogue(DialogueConfig config) : config_(config), lines_(line_size_max) {}

    // --- the connection --------------------------------------------------------------------------
    void connected(Instant now);
    // An error: the peer does not speak our protocol, and the connection must be closed.
    [[nodiscard]] Result<void> received(std::string_view bytes, Instant now);
    void disconnected(const std::string& why);
    void time_passed(Instant now);
    // When time_passed() is wanted; nullopt when nothing waits.
    [[nodiscard]] std::optional<Instant> deadline() const;
    // Why the connection is to be given up: no hello, or no answer for stall_timeout.
    [[nodiscard]] std::optional<std::string> fault(Instant now) const;
    // hello came: calls are possible.
    [[nodiscard]] bool is_ready() const { return ready_; }

    // --- calls -----------------------------------------------------------------------------------
    void allocate(const LeaseRequest& request, Done<Lease> done, Instant now);
    void renew(const IpAddress& address, const LeaseRequest& request, Done<Lease> done,
               Instant now);
    void release(const IpAddress& address, const ClientId& client_id, Generation up_to,
                 Done<void> done, Instant now);
    void list(Done<std::vector<Lease>> done, Instant now);

    // --- what comes out --------------------------------------------------------------------------
    struct LeaseGone {
        Lease lease;
        LeaseEnd why;
    };
    struct Ready {};  // also after lost events
    struct Lost {};
    using Completion = std::function<void()>;
    using Outcome = std::variant<Completion, LeaseGone, Ready, Lost>;

    [[nodiscard]] std::string take_output() { return std::exchange(output_, {}); }
    // To be run and told later on the event thread, in the order in which they happened.
    [[nodiscard]] std::vector<Outcome> take_outcomes() { return std::exchange(outcomes_, {}); }

private:
    struct Allocate {
        Done<Lease> done;
        ClientId client_id;
        Generation generation = 0;
    };
    struct Renew {
        Done<Lease> done;
    };
    struct Release {
        Done<void> done;
    };
    struct List {
        Done<std::vector<Lease>> done;
        std::vector<Lease> leases;
        std::optional<IpAddress> from;
    };
    // Our own release of an address that nobody waits for any more.
    struct GiveBack {
        IpAddress address;
    };
    using Call = std::variant<Allocate, Renew, Release, List, GiveBack>;
    // A call without `done` is one whose caller has heard timed_out; its answer is still awaited.
    struct Pending {
        Call call;
        Instant deadline;
    };

    template <class T>
    void complete(Done<T> done, Result<T> result) {
        if (!done) return;
        outcomes_.emplace_back(
            Completion([done = std::move(done), result = std::move(result)] { done(result); }));
    }
    // nullopt: refused, and `call` was completed.
    std::optional<std::uint64_t> begin(Call call, Instant now);
    void send(std::string line) { output_ += std::move(line) + '\n'; }
    void wait_until(std::uint64_t id, Pending& pending, Instant deadline);
    void fail_call(Call& call, const Error& error);

    [[nodiscard]] Result<void> handle_line(std::string_view line, Instant now);
    [[nodiscard]] Result<void> handle(const Hello& hello);
    [[nodiscard]] Result<void> handle(Answer& answer, Instant now);
    void note_sequence(std::uint64_t sequence);
    [[nodiscard]] Result<void> finish(Allocate& call, Answer& answer, Instant now);
    [[nodiscard]] Result<void> finish(Renew& call, Answer& answer, Instant now);
    [[nodiscard]] Result<void> finish(Release& call, Answer& answer, Instant now);
    [[nodiscard]] Result<void> finish(List& call, Answer& answer, Instant now);
    [[nodiscard]] Result<void> finish(GiveBack& call, Answer& answer, Instant now);
    void give_back(const Allocated& late, const Allocate& call, Instant now);

    const DialogueConfig config_;
    LineBuffer lines_;
    bool connected_ = false;
    bool ready_ = false;
    bool stalled_ = false;
    Instant hello_deadline_;
    std::uint64_t last_sequence_ = 0;
    std::uint64_t next_id_ = 1;  // grows over all connections

    std::map<std::uint64_t, Pending> pending_;
    std::set<std::pair<Instant, std::uint64_t>> deadlines_;
    // Leased for a caller that had given up, and not yet known to be released or wanted again.
    std::set<IpAddress> orphans_;

    std::string output_;
    std::vector<Outcome> outcomes_;
};

}  // namespace dstm::server::lease
