// An endpoint without a network: programs and maps in the kernel, packets in and out by
// BPF_PROG_TEST_RUN, counters read exactly.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "bpf/packets.hpp"
#include "common/io/real_clock.hpp"
#include "tep/bpf/entry_table.hpp"
#include "tep/bpf/programs.hpp"
#include "tep/bpf/refusals.hpp"
#include "tep/bpf/ticks.hpp"

namespace dstm::test {

using Counters = std::map<std::string, std::uint64_t>;

struct Outcome {
    int verdict = 0;  // TC_ACT_*
    Packet packet;    // without its link header
    Packet frame;
};

class Endpoint {
public:
    static constexpr const char* outer = "2001:db8:2::1";
    static constexpr const char* inner = "192.0.2.1";

    // One pool, 192.0.2.0/24; a next hop of MTU 1500 with link addresses.
    [[nodiscard]] static Result<std::unique_ptr<Endpoint>> open(
        tep::bpf::ProgramSettings settings = default_settings());
    [[nodiscard]] static tep::bpf::ProgramSettings default_settings();

    void install(const char* inner_address, const char* outer_client,
                 std::chrono::seconds lifetime = std::chrono::hours(1));
    [[nodiscard]] Outcome up(const Packet& ipv6);
    [[nodiscard]] Outcome down(const Packet& ipv4);
    // A whole frame through the XDP program, as if from interface 1.
    [[nodiscard]] Outcome xdp(const Packet& frame);
    [[nodiscard]] Outcome xdp_once(const Packet& frame);
    // A whole frame that comes to this host, by the shortcut of the tc program; and as a packet.
    [[nodiscard]] Outcome straight(const Packet& frame);
    [[nodiscard]] Outcome straight_as_it_is(const Packet& frame);  // for another station
    [[nodiscard]] Outcome straight_ipv4(const Packet& packet);
    [[nodiscard]] Outcome straight_ipv6(const Packet& packet);
    // With IPv6 inside; port 0 is v6v4.
    void install_ipv6(const TunnelSpec& spec);
    [[nodiscard]] Outcome up_ipv6(const Packet& ipv4);
    [[nodiscard]] Outcome down_ipv6(const Packet& ipv6);
    // From now on tc sees packets as if GRO or a sender had merged them of segments of this size; a
    // virtual machine does not say how many. 0: they are what they are.
    void merge(std::uint32_t segment_size, std::uint32_t segments);
    // Those that are not zero.
    [[nodiscard]] Counters drops();
    [[nodiscard]] dstm_entry entry(const char* inner_address);
    [[nodiscard]] dstm_entry entry_ipv6(const char* inner_address);
    void set_mtu(std::uint16_t mtu, bool takes_frames = true);
    // To it frame() sends; whether XDP may, as next hop of what leaves a tunnel.
    void set_port(int interface, bool takes_frames);

    [[nodiscard]] tep::bpf::EntryTable& table() { return *table_; }
    [[nodiscard]] tep::bpf::Ipv6Table& ipv6_table() { return *ipv6_table_; }
    [[nodiscard]] tep::bpf::Programs& programs() { return programs_; }

private:
    explicit Endpoint(tep::bpf::Programs programs) : programs_(std::move(programs)) {}
    Outcome run(int program, std::uint16_t ethertype, const Packet& packet);
    Outcome run_frame(int program, const Packet& in, const void* context, std::size_t size);
    Outcome run_buffer(int program, const Packet& frame);

    RealClock clock_;
    tep::bpf::Programs programs_;
    std::optional<tep::bpf::EntryTable> table_;
    std::optional<tep::bpf::Ipv6Table> ipv6_table_;
    std::optional<tep::bpf::Refusals> refusals_;
    std::uint32_t segment_size_ = 0;
    std::uint32_t segments_ = 0;
};

// Skips when the host does not let us load programs.
class ProgramTest : public testing::Test {
protected:
    void SetUp() override;
    std::unique_ptr<Endpoint> endpoint;
};

}  // namespace dstm::test
