// What a tunnel device remembers of its tunnels.
#include "common/dataplane/kernel_alias.hpp"

#include <gtest/gtest.h>

namespace dstm::dataplane {
namespace {

TunnelSpec spec(const char* inner, Generation generation, std::int64_t end) {
    TunnelSpec out;
    out.inner = parse_ip_address(inner).value();
    out.generation = generation;
    out.expires_at = from_unix(end);
    return out;
}

TEST(KernelAlias, IsReadAsItWasWritten) {
    auto of_v6 = spec("2001:db8::7", 18446744073709551615u, 4294967296);
    of_v6.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56");
    const std::map<Slot, TunnelSpec> tunnels{{0, spec("192.0.2.7", 1763887506000000, 1763891106)},
                                             {3, of_v6}};
    const auto text = write_alias(tunnels);
    EXPECT_EQ(text,
              "dstm 0=192.0.2.7,1763887506000000,1763891106 "
              "3=2001:db8::7,18446744073709551615,4294967296,2001:db8:200::/56");
    EXPECT_EQ(read_alias(text), tunnels);
    EXPECT_EQ(read_alias(write_alias({})), (std::map<Slot, TunnelSpec>{}));
}

TEST(KernelAlias, OtherTextIsNotTaken) {
    for (const auto* text :
         {"", "eth0", "dstm ", "dstmx", "dstm endpoint", "dstm 0=", "dstm =192.0.2.7,1,2",
          "dstm 0=192.0.2.7", "dstm 0=192.0.2.7,1", "dstm 0=192.0.2.7,1,2,", "dstm 0=192.0.2.7,x,2",
          "dstm 0=192.0.2.7,1,2x", "dstm 0=192.0.2.7,-1,2", "dstm 16=192.0.2.7,1,2",
          "dstm 0=192.0.2.7,1,2 0=192.0.2.8,1,2", "dstm 0=192.0.2.7,1,2  1=192.0.2.8,1,2",
          "dstm 0=192.0.2.7,1,2,2001:db8::1/56", "dstm 0=192.0.2.7,1,99999999999999999999",
          "dstm 0=192.0.2.7,1,2,2001:db8::/56,3"}) {
        EXPECT_FALSE(read_alias(text)) << text;
    }
}

TEST(KernelAlias, CutAtAnyByteItNamesNoTunnelThatWasNotWritten) {
    const std::map<Slot, TunnelSpec> tunnels{{0, spec("192.0.2.7", 12, 34)},
                                             {1, spec("192.0.2.8", 56, 78)}};
    const auto text = write_alias(tunnels);
    for (std::size_t size = 0; size < text.size(); ++size) {
        const auto read = read_alias(text.substr(0, size));
        if (!read) continue;
        for (const auto& [slot, found] : *read) {
            EXPECT_EQ(found.inner, tunnels.at(slot).inner) << size;
            EXPECT_EQ(found.generation, tunnels.at(slot).generation) << size;
        }
    }
}

}  // namespace
}  // namespace dstm::dataplane
