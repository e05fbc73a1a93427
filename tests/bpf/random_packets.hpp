// Packets of chance for the tests of the BPF programs: some right, some not. A seed replays a run.
#pragma once

#include <random>

#include "bpf/packets.hpp"

namespace dstm::test {

class Dice {
public:
    explicit Dice(unsigned seed) : engine_(seed) {}
    std::size_t below(std::size_t bound) {
        return std::uniform_int_distribution<std::size_t>(0, bound - 1)(engine_);
    }
    bool one_in(std::size_t many) { return below(many) == 0; }
    std::uint8_t byte() { return static_cast<std::uint8_t>(below(256)); }
    Packet bytes(std::size_t size) {
        Packet out(size);
        for (auto& each : out) each = byte();
        return out;
    }
    template <class Value>
    Value of(const std::vector<Value>& values) {
        return values[below(values.size())];
    }

private:
    std::mt19937 engine_;
};

inline Packet random_tcp(Dice& dice, const Inner& addresses) {
    Packet options;
    while (options.size() < 32 && !dice.one_in(3)) {
        switch (dice.below(4)) {
            case 0: options.push_back(1); break;
            case 1: options.insert(options.end(), {3, 3, 7}); break;
            case 2: options.push_back(dice.byte()); break;
            default: {
                const auto mss = mss_option(static_cast<std::uint16_t>(dice.below(3000)));
                options.insert(options.end(), mss.begin(), mss.end());
            }
        }
    }
    while (options.size() % 4 != 0) options.push_back(0);
    return tcp(addresses, dice.of<std::uint8_t>({0x02, 0x12, 0x10}), options);
}

inline Packet random_inner(Dice& dice, const std::vector<Ipv4Address>& addresses) {
    Inner inner{dice.of(addresses), dice.of(addresses)};
    inner.tos = dice.byte();
    inner.ttl = static_cast<std::uint8_t>(1 + dice.below(64));
    inner.protocol = dice.of<std::uint8_t>({17, 1, 6});
    if (dice.one_in(4)) inner.fragment = dice.of<std::uint16_t>({0x4000, 0x2000, 0x2001, 3});
    if (dice.one_in(6)) inner.options = {7, 4, 4, 0};
    if (inner.protocol == 6 && !dice.one_in(4)) return random_tcp(dice, inner);
    inner.payload = dice.bytes(dice.one_in(5) ? dice.below(1600) : dice.below(40));
    if (inner.protocol == 1 && !inner.payload.empty()) {
        inner.payload[0] = dice.of<std::uint8_t>({0, 3, 5, 8});
    }
    return make(inner);
}

// Seldom, and in its first eight bytes or its length.
inline void mutilate(Dice& dice, Packet& packet) {
    if (dice.one_in(6)) {
        packet.at(dice.below(std::min<std::size_t>(packet.size(), 8))) = dice.byte();
    }
    if (dice.one_in(12)) packet.resize(1 + dice.below(packet.size()));
    if (dice.one_in(12)) packet.insert(packet.end(), {1, 2, 3});
}

}  // namespace dstm::test
