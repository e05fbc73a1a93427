// The reader's end of the ring of refused packets.
#include "tep/bpf/refusals.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <bpf/libbpf.h>

namespace dstm::tep::bpf {

struct Refusals::Impl {
    ring_buffer* ring = nullptr;
    RefusalCounts counts;
    const EntryTable* table = nullptr;  // while take() runs, both
    const Ipv6Table* ipv6 = nullptr;

    Impl() = default;
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { ring_buffer__free(ring); }

    void judge(const dstm_refused& note) {
        const bool is_ipv6 = note.is_ipv6 != 0;
        const bool outer_known = is_ipv6 ? ipv6->leads_to(note.outer[0])
                                         : table->leads_to(address_of(note.outer));
        const bool inner_known = is_ipv6 ? ipv6->holds(address_of(note.inner_ipv6))
                                         : table->holds(Ipv4Address(note.inner));
        if (inner_known) {
            ++(outer_known ? counts.spoofed_inner : counts.spoofed_outer);
        } else {
            ++(outer_known ? counts.unknown_inner : counts.unknown_outer);
        }
    }

    static Ipv6Address address_of(const __u64 (&words)[2]) {
        Ipv6Address::Bytes bytes;
        std::memcpy(bytes.data(), words, bytes.size());
        return Ipv6Address(bytes);
    }

    static int on_note(void* context, void* data, std::size_t size) {
        dstm_refused note{};
        if (size < sizeof note) return 0;
        std::memcpy(&note, data, sizeof note);
        static_cast<Impl*>(context)->judge(note);
        return 0;
    }
};

Refusals::Refusals(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Refusals::Refusals(Refusals&&) noexcept = default;
Refusals& Refusals::operator=(Refusals&&) noexcept = default;
Refusals::~Refusals() = default;

Result<Refusals> Refusals::open(const Programs& programs) {
    auto impl = std::make_unique<Impl>();
    impl->ring = ring_buffer__new(programs.refused(), &Impl::on_note, impl.get(), nullptr);
    if (impl->ring == nullptr) {
        return tl::unexpected(error_from_errno(errno, "opening the ring of refused packets"));
    }
    return Refusals(std::move(impl));
}

int Refusals::descriptor() const { return ring_buffer__epoll_fd(impl_->ring); }

void Refusals::take(const EntryTable& table, const Ipv6Table& ipv6) {
    impl_->table = &table;
    impl_->ipv6 = &ipv6;
    ring_buffer__consume(impl_->ring);
    impl_->table = nullptr;
    impl_->ipv6 = nullptr;
}

const RefusalCounts& Refusals::counts() const { return impl_->counts; }

}  // namespace dstm::tep::bpf
