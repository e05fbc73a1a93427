// Which address or prefix of a pool to try next, in work that does not grow with the number of
// leases per request: a cursor walks round the pool over pages of what is in use, and a pool once
// found full is not walked again until an address of it is freed or the finding is old.
//
// Advice only: whoever takes the address checks that it is free. Knows numbers, not Kea.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

namespace dstm::kea {

// An address of either family; ISO C++ has no name for it.
__extension__ using Number = unsigned __int128;

struct AddressRange {
    Number first = 0;
    Number last = 0;  // inclusive
    Number step = 1;  // from one to the next: the size of a prefix
    int kind = 0;     // of what is given; only passed on

    auto operator<=>(const AddressRange&) const = default;
};

class FreeAddresses {
public:
    using Time = std::chrono::steady_clock::time_point;

    // In use of a pool, ascending, none below `from`, at most `limit` of them.
    using InUse = std::function<std::vector<Number>(const AddressRange& pool, Number from,
                                                    std::size_t limit)>;

    static constexpr std::size_t page_size = 256;
    // Leases looked at for one request; a pool with more in a row needs several requests.
    static constexpr std::size_t scan_max = 131072;
    static constexpr std::size_t freed_max = 4096;
    static constexpr std::chrono::seconds full_trust_max{60};

    explicit FreeAddresses(InUse in_use) : in_use_(std::move(in_use)) {}

    // The next candidate, or nothing when the pool is full as far as is known.
    [[nodiscard]] std::optional<Number> next(const AddressRange& pool, Time now);
    // A candidate of this pool was free indeed.
    void taken(const AddressRange& pool);
    void freed(int kind, Number address);
    // Many changed at once.
    void forget() { pools_.clear(); }

private:
    struct Pool {
        Number cursor = 0;         // next address to look at
        Number horizon = 0;        // `page` tells the truth below this one
        std::vector<Number> page;  // in use, ascending
        std::size_t page_position = 0;
        Number looked_at = 0;  // addresses since one was taken or freed
        std::optional<Time> full_since;
        std::deque<Number> freed;  // only while full
    };

    [[nodiscard]] std::optional<Number> walk(const AddressRange& range, Pool& pool, Time now);
    void turn_page(const AddressRange& range, Pool& pool);

    InUse in_use_;
    std::map<AddressRange, Pool> pools_;
};

}  // namespace dstm::kea
