// What the tests of both kinds of shortcuts share: whole frames in by XDP or by tc, and what came
// of them. `Base` has an Endpoint, its namespace and the counters that are expected.
#pragma once

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "bpf/test_run.hpp"
#include "common/base/bytes.hpp"

namespace dstm::test {

inline constexpr std::uint16_t ethertype_ipv4 = 0x0800;
inline constexpr std::uint16_t ethertype_ipv6 = 0x86dd;

enum class Layer2 { xdp, tc };

inline std::string name_of(const testing::TestParamInfo<Layer2>& by) {
    return by.param == Layer2::xdp ? "xdp" : "tc";
}

enum class Fate {
    straight,
    layer_1,  // not plain; by tc the same program judges it, on the way up
    left,     // not for a program at all
    dropped,
};

template <class Base>
class Layer2Test : public Base, public testing::WithParamInterface<Layer2> {
protected:
    [[nodiscard]] bool is_xdp() const { return GetParam() == Layer2::xdp; }

    Outcome run(const Packet& frame) {
        return this->host->in([&] {
            return is_xdp() ? this->endpoint->xdp(frame) : this->endpoint->straight(frame);
        });
    }
    Outcome run(std::uint16_t ethertype, const Packet& packet) {
        return run(frame(ethertype, packet));
    }

    void expect_untouched(const Outcome& outcome, const Packet& packet) {
        EXPECT_EQ(outcome.verdict, is_xdp() ? int{XDP_PASS} : TC_ACT_UNSPEC);
        EXPECT_EQ(outcome.packet, packet);
    }

    void expect_gone(const Outcome& outcome, std::uint16_t ethertype, const Packet& packet,
                     int by_xdp = XDP_REDIRECT) {
        EXPECT_EQ(outcome.verdict, is_xdp() ? by_xdp : TC_ACT_REDIRECT);
        EXPECT_EQ(outcome.packet, packet);
        EXPECT_EQ(load16(outcome.frame, 12), ethertype);
    }

    void expect_dropped(const Outcome& outcome, const std::string& counter) {
        EXPECT_EQ(outcome.verdict, is_xdp() ? int{XDP_DROP} : TC_ACT_SHOT);
        ASSERT_NE(counter, "");
        ++this->expected[counter];
    }
};

}  // namespace dstm::test
