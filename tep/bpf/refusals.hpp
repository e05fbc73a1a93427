// Why the source check refused packets. The programs know only inner addresses; this side knows
// all outer ones too and so can tell an unknown client from one that uses another's address.
#pragma once

#include <cstdint>
#include <memory>

#include "common/base/result.hpp"
#include "tep/bpf/entry_table.hpp"
#include "tep/bpf/ipv6_table.hpp"

struct ring_buffer;

namespace dstm::tep::bpf {

// Named as in common/tunnel/reference_model.hpp.
struct RefusalCounts {
    std::uint64_t unknown_outer = 0;
    std::uint64_t unknown_inner = 0;
    std::uint64_t spoofed_inner = 0;
    std::uint64_t spoofed_outer = 0;
};

class Refusals {
public:
    [[nodiscard]] static Result<Refusals> open(const Programs& programs);
    Refusals(Refusals&&) noexcept;
    Refusals& operator=(Refusals&&) noexcept;
    ~Refusals();

    // Readable when there is something to take; for a poll loop.
    [[nodiscard]] int descriptor() const;
    // Takes what the programs noted since, and judges it by the tables as they are now.
    void take(const EntryTable& table, const Ipv6Table& ipv6);
    [[nodiscard]] const RefusalCounts& counts() const;

private:
    struct Impl;
    explicit Refusals(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstm::tep::bpf
