// The order of the stores is what makes a change whole for a program that reads at any moment.
#include "tep/bpf/slots.hpp"

#include <atomic>

#include "tep/bpf/mapped_array.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr std::uint32_t writes_mask = (1U << DSTM_ENTRY_USE_SHIFT) - DSTM_ENTRY_VERSION_STEP;

std::uint32_t next_write(std::uint32_t state) {
    const auto use = state >> DSTM_ENTRY_USE_SHIFT << DSTM_ENTRY_USE_SHIFT;
    return use | ((state + DSTM_ENTRY_VERSION_STEP) & writes_mask);
}

std::uint32_t next_use(std::uint32_t state) {
    return ((state >> DSTM_ENTRY_USE_SHIFT) + 1) << DSTM_ENTRY_USE_SHIFT;
}

enum class Counters { stay, come };

void write(dstm_entry& shared, const dstm_entry& fresh, std::uint32_t version, Counters counters) {
    publish(shared.state, version | DSTM_ENTRY_WRITING);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    publish(shared.peer[0], fresh.peer[0]);
    publish(shared.peer[1], fresh.peer[1]);
    publish(shared.expires, fresh.expires);
    publish(shared.next_hop, fresh.next_hop);
    publish(shared.path_mtu, fresh.path_mtu);
    if (counters == Counters::come) {
        publish(shared.last_seen, fresh.last_seen);
        publish(shared.packets_up, fresh.packets_up);
        publish(shared.bytes_up, fresh.bytes_up);
        publish(shared.packets_down, fresh.packets_down);
        publish(shared.bytes_down, fresh.bytes_down);
    }
    publish(shared.state, version | DSTM_ENTRY_CARRIED);
}

}  // namespace

void FreeSlots::keep(Slot slot) {
    for (; untouched_ < slot; ++untouched_) free_.push_back(untouched_);
    ++untouched_;
}

std::optional<Slot> FreeSlots::take() {
    if (untouched_ < count_) return untouched_++;
    if (free_.empty()) return std::nullopt;
    const auto slot = free_.front();
    free_.pop_front();
    return slot;
}

void rewrite(dstm_entry& shared, const dstm_entry& fresh) {
    write(shared, fresh, next_write(shared.state), Counters::stay);
}

void begin_use(dstm_entry& shared, const dstm_entry& fresh) {
    write(shared, fresh, next_use(shared.state), Counters::come);
}

void end_use(dstm_entry& shared) {
    publish(shared.state, __u32{shared.state & ~(DSTM_ENTRY_VERSION_STEP - 1)});
}

}  // namespace dstm::tep::bpf
