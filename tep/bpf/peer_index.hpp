// Which tunnels lead to a far end: a list of slots for each, so that what is learned of a path is
// told to its tunnels alone, whatever the number of others.
#pragma once

#include <cstdint>
#include <limits>
#include <unordered_map>
#include <vector>

#include "tep/bpf/slots.hpp"

namespace dstm::tep::bpf {

template <class Peer>
class PeerIndex {
public:
    // Nothing leads from `slot` yet.
    void add(const Peer& peer, Slot slot) {
        if (slot >= links_.size()) links_.resize(std::size_t{slot} + 1);
        const auto [first, is_new] = first_.try_emplace(peer, slot);
        links_[slot] = {none, is_new ? none : first->second};
        if (is_new) return;
        links_[first->second].previous = slot;
        first->second = slot;
    }

    // What add() has put there.
    void remove(const Peer& peer, Slot slot) {
        const auto [previous, next] = links_[slot];
        if (next != none) links_[next].previous = previous;
        if (previous != none) {
            links_[previous].next = next;
        } else if (next != none) {
            first_.at(peer) = next;
        } else {
            first_.erase(peer);
        }
    }

    [[nodiscard]] bool contains(const Peer& peer) const { return first_.contains(peer); }

    template <class Visit>
    void for_each(const Peer& peer, Visit visit) const {
        const auto found = first_.find(peer);
        if (found == first_.end()) return;
        for (auto slot = found->second; slot != none; slot = links_[slot].next) visit(slot);
    }

private:
    static constexpr Slot none = std::numeric_limits<Slot>::max();
    struct Links {
        Slot previous = none;
        Slot next = none;
    };
    std::unordered_map<Peer, Slot> first_;
    std::vector<Links> links_;  // by slot
};

}  // namespace dstm::tep::bpf
