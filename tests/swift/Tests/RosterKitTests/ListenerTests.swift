import Foundation
import RosterKitGenerated
import XCTest

/// What a listener may do to the engine, and what the engine makes of it.
final class ListenerTests: WorldTestCase {
    func testWhatTheListenerSaysItFailedAtComesAgain() throws {
        try comesAgain(after: CallbackError.Failed(details: "not now"))
    }

    func testAnyErrorInTheListener() throws {
        struct Unforeseen: Error {}
        try comesAgain(after: Unforeseen())
    }

    private func comesAgain(after error: some Error) throws {
        let engine = try open()
        let times = Times()
        let heard = Heard { _ in if times.next() == 1 { throw error } }
        let theirs = try engine.openSession(address: bob, listener: heard)
        _ = try engine.send(sender: alice, recipient: bob, text: "hello")
        let (first, again) = try (heard.nextMessage(), heard.nextMessage())
        XCTAssertEqual(first.id, again.id)
        _ = try engine.send(sender: alice, recipient: bob, text: "and on")
        XCTAssertEqual(try heard.nextMessage().body, .text(text: "and on"))
        try theirs.shutdown()
    }

    func testAMessageThatFailsThreeTimesIsParked() throws {
        let engine = try open()
        let heard = Heard { event in if event.message != nil { throw CallbackError.Failed(details: "never") } }
        let theirs = try engine.openSession(address: bob, listener: heard)
        _ = try engine.send(sender: alice, recipient: bob, text: "hello")
        let ids = try (1...3).map { _ in try heard.nextMessage().id }
        XCTAssertEqual(Set(ids).count, 1)
        XCTAssertEqual(try heard.next().body, .messageParked(messageId: ids[0]))
        try theirs.shutdown()
    }

    func testAListenerCallsTheEngine() throws {
        let engine = try open()
        let session = Awaited<Session>()
        let refusals = Awaited<RosterKitError>()
        let answering = Heard { event in
            guard let message = event.message, let text = event.text else { return }
            _ = try session.next().send(recipient: message.sender, text: "yes, \(text)")
            refusals.put(try refused(engine.shutdown(wait: true)))
        }
        let theirs = try engine.openSession(address: bob, listener: answering)
        session.put(theirs)
        let mine = try engine.openSession(address: alice)
        _ = try mine.send(recipient: bob, text: "hello")
        XCTAssertEqual(try mine.next().text, "yes, hello")
        guard case .Misuse = try refusals.next() else { return XCTFail("another refusal") }
        try engine.shutdown()
    }

    func testAListenerIsToldTheEnd() throws {
        let engine = try open()
        let heard = Heard()
        let theirs = try engine.openSession(address: bob, listener: heard)
        try engine.shutdown()
        XCTAssertEqual(try heard.next().body, .sessionEnded(reason: .shutdown))
        try theirs.shutdown()
    }
}

/// Counts, on whatever thread.
private final class Times: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0

    func next() -> Int {
        lock.withLock {
            count += 1
            return count
        }
    }
}
