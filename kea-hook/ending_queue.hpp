// Leases that ended, on their way from Kea's callouts, which may run on any thread, to the main
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

using ConnectionId = std::uint64_t;
inline constexpr ConnectionId no_connection = 0;

enum class EndingKind {
    expired,
    released,
    declined,
    deleted,
    recovered,  // a declined address may be given again: told to nobody
    changed,    // not ended, but different now: whoever holds a copy looks again
    unknown,    // many may have changed: we look again too
};

struct Ending {
    EndingKind kind = EndingKind::unknown;
    ClientLease lease = {};              // as it was; empty for the last two; without an address
                                         // if Kea has ended the prefix
    ConnectionId cause = no_connection;  // is not told
};

class EndingQueue {
public:
    // `wake` is called on the thread that pushes.
    explicit EndingQueue(std::function<void()> wake) : wake_(std::move(wake)) {}

    void push(Ending ending);
    [[nodiscard]] std::vector<Ending> take();

private:
    std::function<void()> wake_;
    std::mutex mutex_;
    std::vector<Ending> endings_;
};

}  // namespace dstm::kea
