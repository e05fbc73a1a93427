#include "common/base/secret.hpp"

#include <sstream>

#include <gtest/gtest.h>

namespace dstm {
namespace {

template <class T>
concept Printable = requires(std::ostream& out, const T& value) {
    out << value;
};

TEST(Secret, CannotBePrinted) {
    static_assert(!Printable<Secret>);
    static_assert(!std::is_convertible_v<Secret, std::string>);
    EXPECT_EQ(Secret("hunter2").reveal(), "hunter2");
}

TEST(Secret, IsEmptyAfterItWasMovedFrom) {
    Secret first("hunter2");
    const Secret second = std::move(first);
    EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): this is what is tested
    EXPECT_EQ(second.reveal(), "hunter2");
}

}  // namespace
}  // namespace dstm
