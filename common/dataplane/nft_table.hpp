// A table of nftables for as long as the object lives; the kernel removes it with the process too,
// however that ends (flags owner). Knows nothing of what the rules are for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/result.hpp"

namespace dstm::dataplane {

class NftTable {
public:
    // `content` is what stands in the table's braces (nft(8)). Its name begins with `name`; the
    // rest of it makes it unlike any other. unavailable: the kernel or nftables says no.
    [[nodiscard]] static Result<NftTable> add(const std::string& family, const std::string& name,
                                              const std::string& content);
    NftTable(NftTable&&) noexcept;
    NftTable& operator=(NftTable&&) noexcept;
    ~NftTable();

    // What a named counter has counted. From any thread.
    [[nodiscard]] std::uint64_t packets(const std::string& counter) const;

private:
    struct Impl;
    explicit NftTable(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstm::dataplane
