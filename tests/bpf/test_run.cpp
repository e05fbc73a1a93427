#include "bpf/test_run.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <bpf/bpf.h>

#include "common/base/assert.hpp"
#include "tep/bpf/mapped_array.hpp"

namespace dstm::test {
namespace {

constexpr std::uint16_t ethertype_ipv4 = 0x0800;
constexpr std::uint16_t ethertype_ipv6 = 0x86dd;
constexpr std::size_t frame_size_max = 70000;

}  // namespace

tep::bpf::ProgramSettings Endpoint::default_settings() {
    tep::bpf::ProgramSettings settings;
    settings.outer = v6(outer);
    settings.inner = v4(inner);
    settings.pools = {*Ipv4Prefix::parse("192.0.2.0/24")};
    settings.device_header = 14;
    settings.ipv6_tunnels_max = 1024;
    return settings;
}

Result<std::unique_ptr<Endpoint>> Endpoint::open(tep::bpf::ProgramSettings settings) {
    auto programs = tep::bpf::Programs::load(settings);
    if (!programs) return tl::unexpected(programs.error());
    std::unique_ptr<Endpoint> endpoint(new Endpoint(std::move(*programs)));
    auto table = tep::bpf::EntryTable::open(endpoint->programs_);
    if (!table) return tl::unexpected(table.error());
    endpoint->table_.emplace(std::move(*table));
    auto ipv6_table = tep::bpf::Ipv6Table::open(endpoint->programs_);
    if (!ipv6_table) return tl::unexpected(ipv6_table.error());
    endpoint->ipv6_table_.emplace(std::move(*ipv6_table));
    auto refusals = tep::bpf::Refusals::open(endpoint->programs_);
    if (!refusals) return tl::unexpected(refusals.error());
    endpoint->refusals_.emplace(std::move(*refusals));
    endpoint->set_mtu(1500);
    endpoint->set_port(1, true);
    return endpoint;
}

void Endpoint::set_port(int interface, bool takes_frames) {
    dstm_port port{};
    port.interface = static_cast<__u32>(interface);
    port.takes_frames = takes_frames;
    const auto there = frame(ethertype_ipv4, {});
    std::copy_n(there.begin(), 6, port.address);
    programs_.set_port(interface, port);
}

void Endpoint::set_mtu(std::uint16_t mtu, bool takes_frames) {
    const auto hops =
        tep::bpf::MappedArray<dstm_next_hop>::map(programs_.next_hops(), DSTM_NEXT_HOPS_MAX);
    DSTM_ASSERT(hops.has_value());
    dstm_next_hop hop{};
    hop.interface = 1;
    hop.mtu = mtu;
    hop.takes_frames = takes_frames;
    hop.has_link_addresses = 1;
    std::memcpy(hop.destination, "\x02\0\0\0\0\x07", 6);
    std::memcpy(hop.source, "\x02\0\0\0\0\x08", 6);
    hops->elements()[0] = hop;
}

void Endpoint::install(const char* inner_address, const char* outer_client,
                       std::chrono::seconds lifetime) {
    TunnelSpec spec;
    spec.inner = v4(inner_address);
    spec.outer_client = {v6(outer_client), 0};
    spec.outer_server = v6(outer);
    spec.generation = 1;
    spec.expires_at = clock_.wall() + lifetime;
    const auto put = table_->put(spec, {}, tep::bpf::tick_at(spec.expires_at, clock_));
    DSTM_ASSERT(put.has_value());
}

Outcome Endpoint::up(const Packet& ipv6) { return run(programs_.up(), ethertype_ipv6, ipv6); }

Outcome Endpoint::down(const Packet& ipv4) { return run(programs_.down(), ethertype_ipv4, ipv4); }

void Endpoint::install_ipv6(const TunnelSpec& spec) {
    const auto put = ipv6_table_->put(spec, tep::bpf::tick_at(spec.expires_at, clock_));
    DSTM_ASSERT(put.has_value());
}

Outcome Endpoint::up_ipv6(const Packet& ipv4) {
    return run(programs_.up_routed(), ethertype_ipv4, ipv4);
}

Outcome Endpoint::down_ipv6(const Packet& ipv6) {
    return run(programs_.down(), ethertype_ipv6, ipv6);
}

Outcome Endpoint::run(int program, std::uint16_t ethertype, const Packet& packet) {
    return run_buffer(program, frame(ethertype, packet));
}

Outcome Endpoint::xdp(const Packet& frame) {
    return run_frame(programs_.xdp(), frame, nullptr, 0);
}

Outcome Endpoint::straight_ipv4(const Packet& packet) {
    return straight(frame(ethertype_ipv4, packet));
}

Outcome Endpoint::straight_ipv6(const Packet& packet) {
    return straight(frame(ethertype_ipv6, packet));
}

Outcome Endpoint::straight(Packet frame) {
    std::fill_n(frame.begin(), 6, 0);  // to the loopback interface, which the kernel's bench takes
    return run_buffer(programs_.up_straight(), frame);
}

void Endpoint::merge(std::uint32_t segment_size, std::uint32_t segments) {
    segment_size_ = segment_size;
    segments_ = segments;
}

Outcome Endpoint::run_buffer(int program, const Packet& frame) {
    __sk_buff buffer{};
    buffer.ingress_ifindex = 1;
    buffer.gso_size = segment_size_;
    buffer.gso_segs = segments_;
    return run_frame(program, frame, &buffer, sizeof buffer);
}

Outcome Endpoint::run_frame(int program, const Packet& in, const void* context, std::size_t size) {
    Packet out(frame_size_max);
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = in.data();
    options.data_size_in = static_cast<__u32>(in.size());
    options.ctx_in = context;
    options.ctx_size_in = static_cast<__u32>(size);
    options.data_out = out.data();
    options.data_size_out = static_cast<__u32>(out.size());
    const int failed = bpf_prog_test_run_opts(program, &options);
    if (failed != 0) {
        ADD_FAILURE() << "BPF_PROG_TEST_RUN: " << std::strerror(-failed);
        return {};
    }
    out.resize(options.data_size_out);
    return {static_cast<int>(options.retval), unframed(out), out};
}

Counters Endpoint::drops() {
    Counters out;
    const auto counts = tep::bpf::read_drops(programs_);
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] != 0) {
            out[std::string(tep::bpf::name_of(static_cast<dstm_drop>(i)))] = counts[i];
        }
    }
    refusals_->take(*table_, *ipv6_table_);
    const auto& refused = refusals_->counts();
    if (refused.unknown_inner != 0) out["unknown_inner"] = refused.unknown_inner;
    if (refused.unknown_outer != 0) out["unknown_outer"] = refused.unknown_outer;
    if (refused.spoofed_inner != 0) out["spoofed_inner"] = refused.spoofed_inner;
    if (refused.spoofed_outer != 0) out["spoofed_outer"] = refused.spoofed_outer;
    return out;
}

dstm_entry Endpoint::entry(const char* inner_address) {
    dstm_entry found{};
    table_->for_each([&](const tep::bpf::TunnelView& view) {
        if (view.inner == v4(inner_address)) found = view.entry;
    });
    return found;
}

dstm_entry Endpoint::entry_ipv6(const char* inner_address) {
    dstm_entry found{};
    ipv6_table_->for_each([&](const tep::bpf::Ipv6TunnelView& view) {
        if (view.inner == v6(inner_address)) found = view.entry;
    });
    return found;
}

void ProgramTest::SetUp() {
    if (::geteuid() != 0) GTEST_SKIP() << "loading BPF programs needs root";
    auto opened = Endpoint::open();
    if (!opened && opened.error().code == ErrorCode::unavailable) {
        GTEST_SKIP() << to_string(opened.error());
    }
    ASSERT_TRUE(opened) << to_string(opened.error());
    endpoint = std::move(*opened);
    endpoint->install("192.0.2.7", "2001:db8:1::7");
    endpoint->install("192.0.2.8", "2001:db8:1::8");
    endpoint->install("192.0.2.9", "2001:db8:1::9", std::chrono::seconds(0));
}

}  // namespace dstm::test
