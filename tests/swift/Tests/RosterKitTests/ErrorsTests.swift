import Foundation
import RosterKitGenerated
import XCTest

/// Every kind of error is raised, and its text is read.
final class ErrorsTests: WorldTestCase {
    func testAnInvalidArgument() throws {
        let engine = try openVirtual()
        guard case .InvalidArgument(let details) = try refused(engine.createAccount(address: "example.org")) else {
            return XCTFail("another kind")
        }
        XCTAssertTrue(details.contains("user@domain"), details)
        let presence = PresenceUpdate(state: .online, priority: 1000)
        let mine = try engine.openSession(address: alice)
        guard case .InvalidArgument(let details) = try refused(mine.setPresence(presence: presence)) else {
            return XCTFail("another kind")
        }
        XCTAssertTrue(details.contains("cannot be 1000"), details)
    }

    func testNotFound() throws {
        let engine = try openVirtual()
        let error = try refused(engine.send(sender: alice, recipient: "nobody@example.org", text: "hello"))
        guard case .NotFound(let details) = error else { return XCTFail("\(error)") }
        XCTAssertTrue(details.contains("nobody@example.org"), details)
    }

    func testForbidden() throws {
        let engine = try openVirtual()
        try engine.openSession(address: bob).block(peer: alice)
        let error = try refused(engine.send(sender: alice, recipient: bob, text: "hello"))
        guard case .Forbidden(let details) = error else { return XCTFail("\(error)") }
        XCTAssertTrue(details.contains("does not accept"), details)
    }

    func testALimitIsExceeded() throws {
        let limits = LimitOptions(messageBytes: 10, sendBurst: 1, sendsPerMinute: 60)
        let engine = try openVirtual(limits: limits)
        let long = String(repeating: "x", count: 11)
        let size = try refused(engine.send(sender: alice, recipient: bob, text: long))
        guard case .LimitExceeded(let details, nil) = size else { return XCTFail("\(size)") }
        XCTAssertTrue(details.contains("11 bytes"), details)
        _ = try engine.send(sender: alice, recipient: bob, text: "one")
        let rate = try refused(engine.send(sender: alice, recipient: bob, text: "two"))
        guard case .LimitExceeded(_, let retryAfterMs?) = rate else { return XCTFail("\(rate)") }
        try engine.advance(millis: retryAfterMs)
        _ = try engine.send(sender: alice, recipient: bob, text: "two")
    }

    func testAConflict() throws {
        let engine = try open()
        let exists = try refused(engine.createAccount(address: alice))
        guard case .Conflict(let details) = exists else { return XCTFail("\(exists)") }
        XCTAssertTrue(details.contains("exists"), details)
        // Somebody has the file already.
        let held = try refused(open())
        guard case .Conflict = held else { return XCTFail("\(held)") }
    }

    func testUnreachable() throws {
        let engine = try openVirtual()
        let error = try refused(engine.send(sender: alice, recipient: "bob@elsewhere.example", text: "hello"))
        guard case .Unreachable(let details) = error else { return XCTFail("\(error)") }
        XCTAssertTrue(details.contains("elsewhere.example"), details)
    }

    func testStorage() throws {
        let broken = folder.appendingPathComponent("im.db")
        let content = Data(String(repeating: "this is no database", count: 1000).utf8)
        try content.write(to: broken)
        let options = EngineOptions(domains: ["example.org"])
        let error = try refused(Engine.openFile(path: broken.path, options: options))
        guard case .Storage(let details, outcomeUnknown: false) = error else { return XCTFail("\(error)") }
        XCTAssertFalse(details.isEmpty)
        XCTAssertEqual(try Data(contentsOf: broken), content)
    }

    func testDamaged() throws {
        // The second opening moves what the first wrote out of the write-ahead log.
        for _ in 0..<2 { try open().shutdown() }
        let file = folder.appendingPathComponent("im.db")
        var content = try Data(contentsOf: file)
        content[200] ^= 1
        try content.write(to: file)
        let error = try refused(open())
        guard case .Damaged(let details) = error else { return XCTFail("\(error)") }
        XCTAssertTrue(details.contains("page 1 "), details)
    }

    func testAfterShutdownEverythingIsClosedAndTheFileIsFree() throws {
        let engine = try open()
        let mine = try engine.openSession(address: alice)
        try engine.shutdown()
        try engine.shutdown()
        try engine.shutdown(wait: false)
        let refusals = try [
            refused(engine.createAccount(address: "dave@example.org")),
            refused(mine.send(recipient: bob, text: "hello")),
            refused(mine.roster()),
        ]
        for error in refusals {
            guard case .Closed(let details) = error else { return XCTFail("\(error)") }
            XCTAssertTrue(details.contains("shut down"), details)
        }
        try open().shutdown()
    }

    func testMisuse() throws {
        let error = try refused(open().advance(millis: 1))
        guard case .Misuse(let details) = error else { return XCTFail("\(error)") }
        XCTAssertTrue(details.contains("virtual"), details)
    }

    func testAPanicInsideTheLibrary() throws {
        let engine = try openVirtual()
        XCTAssertNil(try engine.failure())
        let failed = try refused(engine.panicForTest(details: "as planned"))
        guard case .Internal(let details) = failed else { return XCTFail("\(failed)") }
        XCTAssertTrue(details.contains("as planned"), details)
        let after = try refused(engine.domains())
        guard case .Internal(let details) = after else { return XCTFail("\(after)") }
        XCTAssertTrue(details.contains("takes no more work"), details)
        XCTAssertEqual(try engine.failure(), "as planned")
    }
}
