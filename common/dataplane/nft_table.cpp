// libnftables. The context's netlink socket is what owns the table: closed, it is gone.
#include "common/dataplane/nft_table.hpp"

#include <charconv>
#include <cstdio>
#include <mutex>
#include <random>
#include <string_view>

#include <nftables/libnftables.h>

namespace dstm::dataplane {

struct NftTable::Impl {
    struct Free {
        void operator()(nft_ctx* context) const { nft_ctx_free(context); }
    };
    std::unique_ptr<nft_ctx, Free> context{nft_ctx_new(NFT_CTX_DEFAULT)};
    std::mutex mutex;
    std::string table;  // family and name

    Result<std::string> run(const std::string& commands) {
        if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0) {
            return std::string(nft_ctx_get_output_buffer(context.get()));
        }
        const std::string why = nft_ctx_get_error_buffer(context.get());
        return fail(ErrorCode::unavailable, "nftables: " + why.substr(0, why.find('\n')));
    }
};

Result<NftTable> NftTable::add(const std::string& family, const std::string& name,
                               const std::string& content) {
    auto impl = std::make_unique<Impl>();
    if (!impl->context) return fail(ErrorCode::exhausted, "nftables");
    nft_ctx_buffer_output(impl->context.get());
    nft_ctx_buffer_error(impl->context.get());
    char suffix[9];
    std::snprintf(suffix, sizeof suffix, "%08x", std::random_device()());
    impl->table = family + ' ' + name + '-' + suffix;
    const auto added = impl->run("table " + impl->table + " {\n flags owner\n" + content + "}\n");
    if (!added) return tl::unexpected(added.error());
    return NftTable(std::move(impl));
}

NftTable::NftTable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NftTable::NftTable(NftTable&&) noexcept = default;
NftTable& NftTable::operator=(NftTable&&) noexcept = default;
NftTable::~NftTable() = default;

std::uint64_t NftTable::packets(const std::string& counter) const {
    const std::lock_guard lock(impl_->mutex);
    const auto listed = impl_->run("list counter " + impl_->table + ' ' + counter);
    if (!listed) return 0;
    constexpr std::string_view before = "packets ";
    const auto at = listed->find(before);
    if (at == std::string::npos) return 0;
    std::uint64_t out = 0;
    std::from_chars(listed->data() + at + before.size(), listed->data() + listed->size(), out);
    return out;
}

}  // namespace dstm::dataplane
