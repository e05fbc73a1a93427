// What the tests of both kinds of shortcuts share: whole frames in by XDP or by tc, and what came
// of them. `Base` has an Endpoint, its namespace and the counters that are expected.
#pragma once

#include <sched.h>

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

// This thread stays on the CPU that it is on.
class OneCpu {
public:
    OneCpu() {
        ::sched_getaffinity(0, sizeof before_, &before_);
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(static_cast<unsigned>(::sched_getcpu()), &here);
        ::sched_setaffinity(0, sizeof here, &here);
    }
    OneCpu(const OneCpu&) = delete;
    OneCpu& operator=(const OneCpu&) = delete;
    ~OneCpu() { ::sched_setaffinity(0, sizeof before_, &before_); }

private:
    cpu_set_t before_{};
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

    // From the first packet the kernel hears whether the neighbour still lives: by tc, to which XDP
    // leaves it. Within half a second the next ones find its link address known.
    void expect_first_to_ask(const Packet& frame) {
        const OneCpu one_cpu;  // each has a cache of its own
        const auto run_once = [&](bool by_xdp) {
            return this->host->in([&] {
                return by_xdp ? this->endpoint->xdp_once(frame) : this->endpoint->straight(frame);
            });
        };
        if (is_xdp()) {
            const auto first = run_once(true);
            EXPECT_EQ(first.verdict, XDP_PASS);
            EXPECT_EQ(first.frame, frame);
        }
        const auto asking = run_once(false);
        EXPECT_EQ(asking.verdict, TC_ACT_REDIRECT);
        EXPECT_EQ(asking.frame.at(5), 0) << "the kernel writes it";
        const auto next = run_once(is_xdp());
        EXPECT_EQ(next.verdict, is_xdp() ? int{XDP_REDIRECT} : TC_ACT_REDIRECT);
        EXPECT_NE(next.frame.at(5), 0);
    }

    // As it comes on an interface that is promiscuous, or from a switch that floods.
    void expect_left_for_another(Packet frame) {
        frame.at(1) ^= 1;
        const auto outcome = this->host->in([&] {
            return is_xdp() ? this->endpoint->xdp(frame) : this->endpoint->straight_as_it_is(frame);
        });
        EXPECT_EQ(outcome.verdict, is_xdp() ? int{XDP_PASS} : TC_ACT_UNSPEC);
        EXPECT_EQ(outcome.frame, frame);
        EXPECT_EQ(this->endpoint->drops(), Counters{});
    }

    void expect_dropped(const Outcome& outcome, const std::string& counter) {
        EXPECT_EQ(outcome.verdict, is_xdp() ? int{XDP_DROP} : TC_ACT_SHOT);
        ASSERT_NE(counter, "");
        ++this->expected[counter];
    }
};

}  // namespace dstm::test
